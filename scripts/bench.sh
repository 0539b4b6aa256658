#!/usr/bin/env bash
# Measures throughput and latency, and prints each figure with its baseline from the same run.
# shellcheck source-path=SCRIPTDIR source=lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

usage() {
  cat <<'HELP'
Usage: ./scripts/bench.sh [--rounds N] [--quick] [--strict]
       ./scripts/bench.sh --against REV [--rounds N] [--strict]

Makes a release build, starts a private Redis and services on free ports, and prints one Markdown table:
medians over several alternating rounds, the baseline of each, the ratio, the bar, and whether the ratio meets
it. Run it on an idle machine.

  --rounds N   number of rounds, 1 to 255 (default: 5, with --quick 3, with --against 9)
  --quick      shorter rounds and a smaller audit chain: shows that the bench runs, not what it measures
  --strict     fail if a bar is missed
  --against REV
               also build that revision, and measure both builds in alternation: scans and appends must reach
               0.97 of the other build's rate. The target directory keeps the other build
  --help       show this text
HELP
}

ARGUMENTS=()
REVISION=''
while (($# > 0)); do
  case "$1" in
    --against)
      REVISION="$(git rev-parse --verify --quiet "${2:-}^{commit}")" ||
        die "--against takes a git revision, not '${2:-}'"
      shift 2
      continue
      ;;
    --rounds)
      [[ "${2:-}" =~ ^([1-9][0-9]?|1[0-9]{2}|2[0-4][0-9]|25[0-5])$ ]] ||
        die "--rounds takes a number from 1 to 255, not '${2:-}'"
      ARGUMENTS+=("$1")
      shift
      ;;
    --quick | --strict) ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && die "unknown argument: $1" ;;
  esac
  ARGUMENTS+=("$1")
  shift
done

# Builds a revision in a separate checkout and target directory, which later comparisons reuse.
# Sets OTHER_BUILD.
build_revision() { # revision
  local against="$TARGET_DIR/against" source
  source="$against/source"
  OTHER_BUILD="$against/$1"
  [[ -x "$OTHER_BUILD/bench" ]] && return 0
  mkdir -p "$against"
  if [[ -d "$source" ]]; then
    git -C "$source" checkout --quiet --detach "$1"
  else
    git worktree prune
    git worktree add --quiet --detach "$source" "$1"
  fi
  (
    cd "$source"
    export CARGO_TARGET_DIR="$against/target"
    cargo build --release --locked --bin scan-service --bin factory-service --bin bench
  )
  mkdir -p "$OTHER_BUILD"
  cp "$against/target/release/"{scan-service,factory-service,bench} "$OTHER_BUILD/"
}

need_rust
need_redis_server
step "Building (release)"
build_services release
STATUS=0
if [[ -n "$REVISION" ]]; then
  step "Building revision ${REVISION:0:12} (release)"
  build_revision "$REVISION"
  step "Measuring this build against ${REVISION:0:12}"
  "$TARGET_DIR/release/bench" against "$OTHER_BUILD" "${ARGUMENTS[@]}" || STATUS=$?
else
  step "Measuring"
  "$TARGET_DIR/release/bench" table "${ARGUMENTS[@]}" || STATUS=$?
fi
step "Summary of bench.sh: $SECONDS s, exit status $STATUS"
exit "$STATUS"
