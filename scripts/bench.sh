#!/usr/bin/env bash
# Prints the table of what things cost, each figure beside its yardstick from the same run.
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'HELP'
Usage: ./scripts/bench.sh [--rounds N] [--quick] [--strict]

Builds everything optimised, starts its own Redis and services on free ports and prints one Markdown table: medians over several alternating rounds, the
yardstick of each, the ratio, the bar and whether it is met. Nothing else should run on the machine meanwhile.

  --rounds N   how many rounds the medians are over, 1 to 255 (default 5, with --quick 3)
  --quick      shorter rounds and a smaller chain: that it runs, not what it measures
  --strict     fail when a bar is missed
  --help       this text
HELP
}

ARGUMENTS=("$@")
while (($# > 0)); do
  case "$1" in
    --rounds)
      [[ "${2:-}" =~ ^([1-9][0-9]?|1[0-9]{2}|2[0-4][0-9]|25[0-5])$ ]] || die "--rounds takes a number from 1 to 255, not '${2:-}'"
      shift
      ;;
    --quick | --strict) ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && die "unknown argument: $1" ;;
  esac
  shift
done

need_rust
need_redis_server
step "Building, optimised"
build_optimised
step "Measuring"
STATUS=0
"$TARGET_DIR/release/bench" table "${ARGUMENTS[@]}" || STATUS=$?
step "Summary of bench.sh: $SECONDS s, exit status $STATUS"
exit "$STATUS"
