#!/usr/bin/env bash
# Checks that the links and paths in the documents exist.
# shellcheck source-path=SCRIPTDIR source=lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

usage() {
  cat <<'HELP'
Usage: ./scripts/check_links.sh

Reads every Markdown file of the project, and fails if

  - a relative link points to a file or a heading that does not exist
  - the text names a path below crates/, services/, scripts/, docs/ or .ci/ that does not exist

It does not fetch web addresses.

  --help   show this text
HELP
}

no_arguments "$@"

FAILURES=0
CHECKED=0
fail() {
  printf '%s\n' "$*" >&2
  FAILURES=$((FAILURES + 1))
}

check_link() { # document, target as written
  local document="$1" target="$2" path anchor file
  case "$target" in
    http://* | https://* | mailto:* | '') return 0 ;;
  esac
  CHECKED=$((CHECKED + 1))
  path="${target%%#*}"
  anchor=''
  if [[ "$target" == *'#'* ]]; then anchor="${target#*#}"; fi
  file="$document"
  if [[ "$path" == /* ]]; then
    file=".$path"
  elif [[ -n "$path" ]]; then
    file="$(dirname "$document")/$path"
  fi
  if [[ ! -e "$file" ]]; then
    fail "$document: the target of the link $target does not exist"
  elif [[ -n "$anchor" && "$file" == *.md ]] && ! grep -qxF "$anchor" < <(anchors "$file"); then
    fail "$document: $target: no such heading"
  fi
}

check_path() { # document, path as written
  local document="$1" path="${2#./}"
  # A full stop or comma after a path belongs to the sentence.
  path="${path%%[.,:;]}"
  CHECKED=$((CHECKED + 1))
  compgen -G "$path" >/dev/null || fail "$document: the path $path does not exist"
}

while IFS= read -r document; do
  while IFS= read -r target; do
    check_link "$document" "$target"
  done < <(grep -oE '\]\([^) ]+' "$document" | sed 's/^](//' || true)
  while IFS= read -r path; do
    check_path "$document" "$path"
  done < <(sed -E 's#[a-z+]+://[^ )>`"]*##g; s#\]\([^)]*\)#]#g' "$document" |
    grep -oE '(^|[^A-Za-z0-9_./$-])(\./)?(crates|services|scripts|docs|\.ci)/[A-Za-z0-9_./*-]+' |
    sed -E 's#^[^A-Za-z0-9_.]##' || true)
done < <(documents)

if ((FAILURES > 0)); then
  die "$FAILURES of $CHECKED links and paths do not exist"
fi
say "Summary: $CHECKED links and paths checked, all exist"
