#!/usr/bin/env bash
# Every test there is: the long way round.
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'HELP'
Usage: ./scripts/run_all_tests.sh [step...]

Runs all steps, or those named, to the end, and sums up. At most 15 minutes on two cores with the tools installed; what is missing is installed
first (redis-server and shellcheck as packages, cargo-deny and cargo-tarpaulin with cargo install, a Chromium for the page, nginx and promtool).

  validate   format, lints, imports, shell, dependencies, links (scripts/validate_code.sh)
  tests      every test of the workspace, documentation examples included (scripts/quick_test.sh)
  coverage   the lines of crates/ that the tests of crates/ run: the bar is 90 %
  page       the page a phone opens, in a headless Chromium (scripts/page_test.sh)
  edge       exports through a real nginx, whole and cut, and promtool on the metrics (scripts/edge_test.sh)
  restore    backup, loss, restore and what follows, for real (scripts/restore_drill.sh)
  load       80 and 150 clients at once against services of its own (scripts/load_test_local.sh)
  benches    every benchmark in a short mode: that they run, not what they measure

  --help     this text
HELP
}

COVERAGE_BAR=90

step_validate() { ./scripts/validate_code.sh; }
step_tests() { ./scripts/quick_test.sh; }
# Optimised, like the load and the benches: built once for all three.
step_page() { ./scripts/page_test.sh --release; }
step_edge() { ./scripts/edge_test.sh --release; }
step_restore() { ./scripts/restore_drill.sh --release; }
step_load() { ./scripts/load_test_local.sh --seconds 5; }

# The compiler's own instrumentation, which stock stable has and tarpaulin reads by itself: no further component is needed.
# The crates' own tests alone: stricter than with the services' tests, and the services are not built once more for it.
step_coverage() {
  need_redis_server
  need_cargo_tool cargo-tarpaulin "$CARGO_TARPAULIN_VERSION"
  cargo tarpaulin --engine llvm --locked --workspace --exclude scan-service --exclude factory-service --exclude bench \
    --implicit-test-threads --skip-clean --no-fail-fast --timeout 300 --target-dir "$TARGET_DIR/coverage" \
    --include-files 'crates/*/src/*' --out Stdout --fail-under "$COVERAGE_BAR"
}

step_benches() {
  # By name: `--benches` would build and run each library's own tests once more, optimised.
  cargo bench --locked -p circuit-breaker -p tag-id --bench breaker --bench tag_id -- --quick --noplot
  ./scripts/bench.sh --quick
}

STEPS=()
for argument in "$@"; do
  case "$argument" in
    -h | --help) usage && exit 0 ;;
    validate | tests | coverage | page | edge | restore | load | benches) STEPS+=("$argument") ;;
    *) usage >&2 && die "unknown step: $argument" ;;
  esac
done
if ((${#STEPS[@]} == 0)); then STEPS=(validate tests coverage page edge restore load benches); fi

# Optimising each program once more as a whole takes half of an optimised build, and here nothing is measured.
export CARGO_PROFILE_RELEASE_LTO=false

need_rust
need_redis_server
for name in "${STEPS[@]}"; do
  run_step "$name" "step_$name"
done
print_summary
