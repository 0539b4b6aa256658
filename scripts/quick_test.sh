#!/usr/bin/env bash
# Runs every test of the workspace.
# shellcheck source-path=SCRIPTDIR source=lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

usage() {
  cat <<'HELP'
Usage: ./scripts/quick_test.sh [cargo test arguments]

Installs what the tests need if it is missing (redis-server and a C compiler), and runs every test of the
workspace. Each test that needs a Redis starts its own. Takes at most two minutes once everything is compiled.

  cargo test arguments   e.g. `-p rate-limiter` or `-- a_test_name` (default: --workspace)
  --help                 show this text
HELP
}

case "${1:-}" in
  -h | --help) usage && exit 0 ;;
esac

need_rust
need_redis_server
need_kill
say "using $("$REDIS_SERVER" --version | cut -c1-60) and $(cargo --version)"

SELECTION=(--workspace)
if (($# > 0)); then SELECTION=("$@"); fi

# Most tests wait for a server, not for a processor.
CORES="$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)"
export RUST_TEST_THREADS="${RUST_TEST_THREADS:-$((CORES * 4))}"

mkdir -p "$TARGET_DIR"
LOG="$TARGET_DIR/quick_test.log"

step "Compiling"
cargo test --no-run "${SELECTION[@]}"
COMPILED=$SECONDS

# Prints the growing log until it receives SIGTERM or this script is gone.
follow_log() {
  local over=''
  trap 'over=yes' TERM
  while [[ -z "$over" ]] && kill -0 $$ 2>/dev/null; do
    sleep 0.2
    cat
  done
  cat
}

# A pipe to `tee` would hang: a process that a failed test leaves behind keeps the pipe open.
step "Testing"
STATUS=0
: >"$LOG"
follow_log <"$LOG" &
FOLLOWER=$!
cargo test --no-fail-fast "${SELECTION[@]}" >>"$LOG" 2>&1 || STATUS=$?
kill -TERM "$FOLLOWER" 2>/dev/null || true
wait "$FOLLOWER" || true

step "Summary of quick_test.sh: compiled in $COMPILED s, tested in $((SECONDS - COMPILED)) s"
awk '
  /^test result:/ { passed += $4; failed += $6; ignored += $8; suites++ }
  END { printf "%d test binaries: %d passed, %d failed, %d ignored\n", suites, passed, failed, ignored }
' "$LOG"
if ((STATUS != 0)); then
  grep -E '^test .* FAILED$|^error: ' "$LOG" | sort -u || true
  die "the tests failed (full output: $LOG)"
fi
say "all passed"
