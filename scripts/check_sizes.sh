#!/usr/bin/env bash
# Checks the sizes of files and functions.
# shellcheck source-path=SCRIPTDIR source=lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

usage() {
  cat <<'HELP'
Usage: ./scripts/check_sizes.sh

Counts the lines of every Rust file and function (comments and tests included) and of every script, and the
columns of every source and document. Fails if

  - a main.rs of a service has 60 lines or more, a handler file 200, another Rust file 400
  - a function has 70 lines or more, from its `fn` to its closing brace
  - a shell script has more than 150 lines
  - a line has more than 110 characters; a table row and a long code span cannot be broken

  --help   show this text
HELP
}

no_arguments "$@"

FAILURES=0
fail() {
  printf '%s\n' "$*" >&2
  FAILURES=$((FAILURES + 1))
}

# Prints `file:line: name: n` for each function of n lines, if n reaches the limit. A function ends at the
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

# Prints `file:line` for each line that is too wide. Counts characters, not bytes, in every locale.
wide_lines() { # columns, file...
  LC_ALL=C awk -v limit="$1" '
    /^ *\|/ || /`[^`]+`/ && longest_code_span($0) > 80 { next }
    { gsub(/[\200-\277]/, "") }
    length($0) > limit { printf "%s:%d\n", FILENAME, FNR }
    function longest_code_span(text, longest, count, parts, i) {
      count = split(text, parts, "`")
      for (i = 2; i <= count; i += 2) if (length(parts[i]) > longest) longest = length(parts[i])
      return longest
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

mapfile -t DOCUMENTS < <(documents)
mapfile -t LUA_FILES < <(find crates services -name '*.lua' | sort)
while IFS= read -r line; do
  fail "$line: more than 110 columns"
done < <(wide_lines 110 "${RUST_FILES[@]}" "${LUA_FILES[@]}" "${SCRIPTS[@]}" "${DOCUMENTS[@]}")

if ((FAILURES > 0)); then
  die "$FAILURES files, functions or lines are too large"
fi
say "Summary: ${#RUST_FILES[@]} Rust files, ${#SCRIPTS[@]} scripts and ${#DOCUMENTS[@]} documents checked," \
  "none is too large"
