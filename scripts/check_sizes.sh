#!/usr/bin/env bash
# Checks the sizes of files and functions.
# shellcheck source-path=SCRIPTDIR source=lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

usage() {
  cat <<'HELP'
Usage: ./scripts/check_sizes.sh

Counts the lines of every Rust file and function (comments and tests included) and of every script. Fails if

  - a main.rs of a service has 60 lines or more, a handler file 200, another Rust file 400
  - a function has 70 lines or more, from its `fn` to its closing brace
  - a shell script has more than 150 lines

  --help   show this text
HELP
}

no_arguments "$@"

FAILURES=0
fail() {
  printf '%s\n' "$*" >&2
  FAILURES=$((FAILURES + 1))
}

# Prints `file:line: name: n` for each function of n lines, if n reaches the limit. The end of a function is the
# next brace with the indentation of its `fn`: rustfmt guarantees that.
long_functions() { # limit, file...
  awk -v limit="$1" '
    FNR == 1 { open = 0 }
    !open && /^ *(pub(\([^)]*\))? )?((default|const|async|unsafe|extern "C") )*fn [a-zA-Z0-9_]/ && !/[;}]$/ {
      open = 1
      start = FNR
      indent = match($0, /[^ ]/)
      name = $0
      sub(/^.*fn /, "", name)
      sub(/[^a-zA-Z0-9_].*$/, "", name)
      next
    }
    open && match($0, /[^ ]/) == indent && /[;}]$/ {
      open = 0
      lines = FNR - start + 1
      if (lines >= limit) printf "%s:%d: %s: %d\n", FILENAME, start, name, lines
    }
  ' "${@:2}"
}

mapfile -t RUST_FILES < <(find crates services -name '*.rs' | sort)
for file in "${RUST_FILES[@]}"; do
  case "$file" in
    services/*/src/main.rs) limit=60 ;;
    services/*/handlers/*) limit=200 ;;
    *) limit=400 ;;
  esac
  lines="$(wc -l <"$file")"
  if ((lines >= limit)); then fail "$file: $lines lines, must be under $limit"; fi
done

while IFS= read -r function; do
  fail "$function lines, must be under 70"
done < <(long_functions 70 "${RUST_FILES[@]}")

mapfile -t SCRIPTS < <(shell_scripts)
for file in "${SCRIPTS[@]}"; do
  lines="$(wc -l <"$file")"
  if ((lines > 150)); then fail "$file: $lines lines, must be at most 150"; fi
done

if ((FAILURES > 0)); then
  die "$FAILURES files or functions are too large"
fi
say "Summary: ${#RUST_FILES[@]} Rust files and ${#SCRIPTS[@]} scripts checked, none is too large"
