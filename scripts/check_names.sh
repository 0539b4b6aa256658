#!/usr/bin/env bash
# Checks that no two types of the workspace have the same name.
# shellcheck source-path=SCRIPTDIR source=lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

usage() {
  cat <<'HELP'
Usage: ./scripts/check_names.sh

Reads every struct, enum, trait, union and type alias that is visible outside its module (pub, pub(crate),
pub(super)). Tests, examples and benchmarks are left out. Fails if two of them have the same name.

The two services do not depend on each other, so both may use a name that no crate below crates/ uses.

  --help   show this text
HELP
}

no_arguments "$@"

# "name crate file" of each visible type, one per line.
types() {
  local declaration='^\s*pub(\((crate|super)\))? (struct|enum|trait|union|type) [A-Z][A-Za-z0-9]*'
  grep -RoE "$declaration" --include='*.rs' crates/*/src services/*/src |
    grep -vE '^[^:]*(/tests/|/tests\.rs:)' |
    sed -E 's#^(([^/]+/[^/]+)/[^:]*):.* ([A-Z][A-Za-z0-9]*)$#\3 \2 \1#' | LC_ALL=C sort
}

# Prints each name that has two meanings, with the files.
shared_names() {
  awk '
    function flush() {
      if (total > 1 && (libraries > 0 || most > 1)) printf "%s:%s\n", name, files
    }
    $1 != name { flush(); name = $1; total = libraries = most = 0; files = ""; delete in_crate }
    {
      total++
      if ($2 ~ /^crates\//) libraries++
      if (++in_crate[$2] > most) most = in_crate[$2]
      files = files " " $3
    }
    END { flush() }'
}

FOUND="$(types)"
COUNT="$(wc -l <<<"$FOUND")"
((COUNT > 100)) || die "could not read the types of the workspace"
SHARED="$(shared_names <<<"$FOUND")"
if [[ -n "$SHARED" ]]; then
  printf '%s\n' "$SHARED" >&2
  die "$(wc -l <<<"$SHARED") type names have two meanings; rename one of each"
fi
say "Summary: $COUNT types, no name has two meanings"
