# shellcheck shell=bash
# Messages, and a list of steps with a summary at the end.

if [[ -t 1 && -z "${NO_COLOR:-}" ]]; then
  BOLD=$'\e[1m' RED=$'\e[31m' GREEN=$'\e[32m' YELLOW=$'\e[33m' PLAIN=$'\e[0m'
else
  BOLD='' RED='' GREEN='' YELLOW='' PLAIN=''
fi

say() { printf '%s\n' "$*"; }
step() { printf '\n%s== %s%s\n' "$BOLD" "$*" "$PLAIN"; }
warn() { printf '%swarning:%s %s\n' "$YELLOW" "$PLAIN" "$*" >&2; }
die() {
  printf '%serror:%s %s\n' "$RED" "$PLAIN" "$*" >&2
  exit 1
}

STEP_NAMES=()
STEP_RESULTS=()
STEP_NOTES=()

note_step() { # name, PASS|FAIL|SKIP, [note]
  STEP_NAMES+=("$1")
  STEP_RESULTS+=("$2")
  STEP_NOTES+=("${3:-}")
}

# Runs a command or function with errexit set, and records its result. Never call it in a condition: Bash
# would switch errexit off inside.
run_step() { # name, command...
  local name="$1" started=$SECONDS status
  shift
  step "$name"
  set +e
  (
    set -e
    "$@"
  )
  status=$?
  set -e
  if ((status == 0)); then
    note_step "$name" PASS "$((SECONDS - started)) s"
  else
    note_step "$name" FAIL "$((SECONDS - started)) s, exit status $status"
  fi
}

# Prints one line per step. Fails if a step failed.
print_summary() {
  local i failed=0 skipped=0 colour
  step "Summary of $(basename "$0"), $SECONDS s in all"
  for i in "${!STEP_NAMES[@]}"; do
    case "${STEP_RESULTS[i]}" in
      PASS) colour="$GREEN" ;;
      FAIL) colour="$RED" failed=$((failed + 1)) ;;
      *) colour="$YELLOW" skipped=$((skipped + 1)) ;;
    esac
    printf '  %s%s%s  %s (%s)\n' "$colour" "${STEP_RESULTS[i]}" "$PLAIN" "${STEP_NAMES[i]}" "${STEP_NOTES[i]}"
  done
  if ((failed > 0)); then
    printf '%s%d of %d failed%s\n' "$RED" "$failed" "${#STEP_NAMES[@]}" "$PLAIN"
    return 1
  fi
  if ((skipped > 0)); then
    printf '%snothing failed, %d skipped%s\n' "$YELLOW" "$skipped" "$PLAIN"
  else
    printf '%sall passed%s\n' "$GREEN" "$PLAIN"
  fi
}
