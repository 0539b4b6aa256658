#!/usr/bin/env bash
# Everything that can be said about the code without running it.
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'HELP'
Usage: ./scripts/validate_code.sh [check...]

Runs all checks, or those named, to the end, and sums up:

  format         cargo fmt --check
  lints          clippy over all targets, warnings denied
  imports        who may know whom (scripts/check_imports.sh)
  sizes          no room too large: a service's main under 60 lines, a handler under 200, a module under 400 before its tests
  shell          shellcheck over every script
  dependencies   licences, sources and bans by cargo-deny, and known vulnerabilities where their database can be reached
  links          what the documents point at (scripts/check_links.sh)

What a check needs is installed if it is missing (shellcheck as a package, cargo-deny with cargo install).

  --help   this text
HELP
}

check_format() {
  need_cargo_component fmt rustfmt
  cargo fmt --all --check
}

check_lints() {
  need_cargo_component clippy clippy
  cargo clippy --workspace --all-targets --quiet -- -D warnings
}

check_imports() { ./scripts/check_imports.sh; }

check_sizes() {
  local file lines most failures=0
  while IFS= read -r file; do
    case "$file" in
      services/*/main.rs) most=60 ;;
      */handlers/*) most=200 ;;
      *) most=400 ;;
    esac
    lines="$(awk '/^#\[cfg\(test\)\]/ { exit } { n++ } END { print n + 0 }' "$file")"
    if ((lines >= most)); then
      say "$file: $lines lines; it takes fewer than $most"
      failures=$((failures + 1))
    fi
  done < <(find crates/*/src services/*/src -name '*.rs' | sort)
  ((failures == 0)) || die "$failures files are too large"
}

check_shell() {
  need_shellcheck
  local scripts
  mapfile -t scripts < <(shell_scripts)
  shellcheck --external-sources "${scripts[@]}"
  local script
  for script in "${scripts[@]}"; do
    case "$script" in
      # Sourced, never run.
      */lib.sh | */*_lib.sh) ;;
      *) [[ -x "$script" ]] || die "$script is not executable" ;;
    esac
  done
  say "${#scripts[@]} scripts"
}

check_dependencies() {
  need_cargo_tool cargo-deny "$CARGO_DENY_VERSION"
  cargo deny --log-level error check --hide-inclusion-graph bans licenses sources
}

# Apart from the other checks of the dependencies: it needs a database from the network, and says so where there is none.
check_advisories() {
  cargo deny --log-level error check --hide-inclusion-graph --disable-fetch advisories
}

advisories() {
  local log="$TARGET_DIR/advisories.log"
  mkdir -p "$TARGET_DIR"
  have cargo-deny || PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
  if ! have cargo-deny; then
    note_step "advisories" FAIL "cargo-deny is missing"
  elif cargo deny fetch db >"$log" 2>&1; then
    run_step "advisories" check_advisories
  else
    step "advisories"
    say "NOT CHECKED: the database of known vulnerabilities cannot be reached from here: $(grep '^fatal:' "$log" | tail -n 1 || tail -n 1 "$log")"
    note_step "advisories" SKIP "not checked: their database cannot be reached from here"
  fi
}

check_links() { ./scripts/check_links.sh; }

CHECKS=()
for argument in "$@"; do
  case "$argument" in
    -h | --help) usage && exit 0 ;;
    format | lints | imports | sizes | shell | dependencies | links) CHECKS+=("$argument") ;;
    *) usage >&2 && die "unknown check: $argument" ;;
  esac
done
if ((${#CHECKS[@]} == 0)); then CHECKS=(format lints imports sizes shell dependencies links); fi

need_rust
for check in "${CHECKS[@]}"; do
  run_step "$check" "check_$check"
  if [[ "$check" == dependencies ]]; then advisories; fi
done
print_summary
