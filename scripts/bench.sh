#!/usr/bin/env bash
# Prints the table of what things cost, each figure beside its yardstick from the same run.
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'HELP'
Usage: ./scripts/bench.sh [--rounds N] [--quick] [--strict]

Builds everything optimised, starts its own Redis and services on free ports and prints one Markdown table: medians over several alternating rounds, the
yardstick of each, the ratio, the bar and whether it is met. Nothing else should run on the machine meanwhile.

  arguments   passed on to `bench table`; `cargo run --release -p bench -- table --help` lists them
  --help      this text
HELP
}

case "${1:-}" in
  -h | --help) usage && exit 0 ;;
esac

need_rust
need_redis_server
step "Building, optimised"
build_optimised
step "Measuring"
STATUS=0
"$TARGET_DIR/release/bench" table "$@" || STATUS=$?
step "Summary of bench.sh: $SECONDS s, exit status $STATUS"
exit "$STATUS"
