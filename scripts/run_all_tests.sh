#!/usr/bin/env bash
# Runs every check, test and short benchmark.
# shellcheck source-path=SCRIPTDIR source=lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

usage() {
  cat <<'HELP'
Usage: ./scripts/run_all_tests.sh [step...]

Runs all steps, or the named ones, and prints a summary. A failed step does not stop the others. Takes about
20 minutes on two cores once the tools are installed. Installs missing tools: redis-server, shellcheck,
Chromium, Node.js, nginx, Prometheus, Alertmanager, jq and Python as packages, cargo-deny and cargo-tarpaulin
with cargo install.

  validate    format, lints, imports, sizes, shell, docs, links, dependencies (scripts/validate_code.sh)
  tests       every test of the workspace, documentation examples included (scripts/quick_test.sh)
  coverage    line coverage of crates/ by the tests of crates/; at least 90 %
  page        the pages that a phone opens, in headless Chromium (scripts/page_test.sh)
  edge        complete and cut exports through a real nginx, promtool on the metrics (scripts/edge_test.sh)
  restore     a backup under load, a loss, a restore (scripts/restore_drill.sh)
  alerts      real faults, and the alert that each raises (scripts/alert_drill.sh)
  dashboards  every query of the Grafana dashboards under load (scripts/dashboards_test.sh)
  load        80 and 150 concurrent clients against private services (scripts/load_test_local.sh)
  benches     every benchmark in a short mode: shows that they run, not what they measure

  --help     show this text
HELP
}

COVERAGE_BAR=90

step_validate() { ./scripts/validate_code.sh; }
step_tests() { ./scripts/quick_test.sh; }
# With release binaries, like the load and the benches: one build serves all.
step_page() { ./scripts/page_test.sh --release; }
step_edge() { ./scripts/edge_test.sh --release; }
step_restore() { ./scripts/restore_drill.sh --release; }
step_alerts() { ./scripts/alert_drill.sh --release; }
step_dashboards() { ./scripts/dashboards_test.sh --release; }
step_load() { ./scripts/load_test_local.sh --seconds 5; }

# The compiler's own instrumentation, which stable Rust has and tarpaulin reads, needs no further component.
# Only the tests of the crates count: this is stricter, and the services are not built again.
step_coverage() {
  need_redis_server
  need_cargo_tool cargo-tarpaulin "$CARGO_TARPAULIN_VERSION"
  cargo tarpaulin --engine llvm --locked --workspace --exclude scan-service --exclude factory-service \
    --exclude bench --implicit-test-threads --skip-clean --no-fail-fast --timeout 300 \
    --target-dir "$TARGET_DIR/coverage" --include-files 'crates/*/src/*' --out Stdout \
    --fail-under "$COVERAGE_BAR"
}

step_benches() {
  # By name: `--benches` would also build and run the tests of each library, optimised.
  cargo bench --locked -p circuit-breaker -p tag-id --bench breaker --bench tag_id -- --quick --noplot
  ./scripts/bench.sh --quick
}

STEPS=()
for argument in "$@"; do
  case "$argument" in
    -h | --help) usage && exit 0 ;;
    validate | tests | coverage | page | edge | restore | alerts | dashboards | load | benches)
      STEPS+=("$argument")
      ;;
    *) usage >&2 && die "unknown step: $argument" ;;
  esac
done
if ((${#STEPS[@]} == 0)); then
  STEPS=(validate tests coverage page edge restore alerts dashboards load benches)
fi

# Link-time optimisation takes half of a release build, and nothing is measured here.
export CARGO_PROFILE_RELEASE_LTO=false

need_rust
need_redis_server
for name in "${STEPS[@]}"; do
  run_step "$name" "step_$name"
done
print_summary
