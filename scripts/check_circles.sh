#!/usr/bin/env bash
# Checks that the files of a crate do not import each other in a circle.
# shellcheck source-path=SCRIPTDIR source=lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

usage() {
  cat <<'HELP'
Usage: ./scripts/check_circles.sh

Reads the imports between the module files of each crate (`crate::`, `super::` and `self::` paths), and fails
if they form a circle. Not counted: tests, which may import what they test, and a crate's root, which exports
what its files define.

  --help   show this text
HELP
}

no_arguments "$@"

# Prints "importer imported" for each import between two module files of a crate, the crate's root excepted.
# Tests may import what they test, so they are left out.
imports_between_files() { # source directory
  find "$1" -name '*.rs' ! -path '*/tests/*' ! -name tests.rs ! -name lib.rs ! -name main.rs -printf '%P\n' |
    sort | awk -v source="$1" '
      function module_of(file) { sub(/\.rs$/, "", file); sub(/\/mod$/, "", file); return file }
      # Adds the module that defines what `path` names: its longest prefix that is a file.
      function import(importer, path,    parts, count, base, i, module) {
        gsub(/[ \n]|as [A-Za-z_0-9]+/, "", path)
        count = split(path, parts, "::")
        base = parts[1] == "crate" ? "" : importer
        for (i = 1; i <= count && parts[i] ~ /^(crate|self|super)$/; i++)
          if (parts[i] == "super") base = base ~ /\// ? substr(base, 1, match(base, /\/[^\/]*$/) - 1) : ""
        module = base in known ? base : ""
        for (; i <= count; i++) {
          base = base == "" ? parts[i] : base "/" parts[i]
          if (base in known) module = base
        }
        if (module != "" && module != importer) print importer, module
      }
      # Splits a tree of imports, e.g. a::{b, c::d}, into paths.
      function expand(importer, tree,    open, prefix, body, depth, start, i, char) {
        open = index(tree, "{")
        if (open == 0) { import(importer, tree); return }
        prefix = substr(tree, 1, open - 1)
        body = substr(tree, open + 1, length(tree) - open - 1) ","
        depth = 0; start = 1
        for (i = 1; i <= length(body); i++) {
          char = substr(body, i, 1)
          if (char == "{") depth++
          if (char == "}") depth--
          if (char == "," && depth == 0) {
            if (i > start) expand(importer, prefix substr(body, start, i - start))
            start = i + 1
          }
        }
      }
      { known[module_of($0)] = $0 }
      END {
        for (module in known) {
          file = source "/" known[module]; text = ""; previous = ""
          while ((getline line < file) > 0) {
            if (line ~ /^mod tests \{/ && previous ~ /cfg\(test\)/) break
            previous = line
            sub(/\/\/.*/, "", line)
            text = text line "\n"
          }
          close(file)
          while (match(text, /(crate|super|self)(::[A-Za-z_0-9]+)*(::\{[^;]*\}|::[A-Za-z_0-9]+)/)) {
            expand(module, substr(text, RSTART, RLENGTH))
            text = substr(text, RSTART + RLENGTH)
          }
        }
      }' | sort -u
}

CIRCLES=0
for source in crates/*/src services/*/src; do
  # tsort names the modules of each circle.
  if ! found="$(imports_between_files "$source" | tsort 2>&1 >/dev/null)"; then
    printf '%s: files import each other:\n%s\n' "$source" "$found" >&2
    CIRCLES=$((CIRCLES + 1))
  fi
done
((CIRCLES == 0)) || die "the files of $CIRCLES crates import each other"
say "Summary: no files import each other"
