#!/usr/bin/env bash
# Holds the direction of the dependencies: who may know whom.
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'HELP'
Usage: ./scripts/check_imports.sh

Reads the normal dependencies of every crate from cargo and fails when one knows what it must not:

  - a crate knows only the crates of the workspace that are listed for it here, and every crate is listed
  - services never know each other; nothing that is shipped knows test-support
  - only http-edge, the services and the bench name axum; below http-edge nobody knows axum, http or hyper, by whatever path
  - only settings, ambient's crash points for tests and the bench's child processes read the environment; the bench hands on PATH

  --help   this text
HELP
}

case "${1:-}" in
  '') ;;
  -h | --help) usage && exit 0 ;;
  *) usage >&2 && die "unknown argument: $1" ;;
esac
need_rust

# Who may know whom. A new crate gets its line here, which is where its place is decided.
allowed_for() { # crate
  case "$1" in
    ambient | circuit-breaker | tag-id | input) echo "" ;;
    redis-pool) echo "ambient circuit-breaker" ;;
    rate-limiter | audit-chain) echo "ambient circuit-breaker redis-pool" ;;
    access | idempotency) echo "ambient circuit-breaker redis-pool audit-chain" ;;
    catalog) echo "ambient circuit-breaker redis-pool audit-chain tag-id" ;;
    keyring) echo "ambient circuit-breaker redis-pool audit-chain tag-id catalog" ;;
    http-edge) echo "ambient input" ;;
    test-support) echo "ambient" ;;
    problems) echo "ambient redis-pool audit-chain catalog access idempotency keyring storage input http-edge" ;;
    storage) echo "ambient circuit-breaker tag-id redis-pool audit-chain catalog access keyring" ;;
    settings) echo "circuit-breaker tag-id redis-pool rate-limiter catalog keyring storage" ;;
    service-kit) echo "ambient circuit-breaker tag-id redis-pool rate-limiter audit-chain catalog access idempotency keyring http-edge storage settings problems" ;;
    scan-service | factory-service) echo "ambient circuit-breaker tag-id redis-pool rate-limiter audit-chain catalog access idempotency keyring http-edge storage settings input problems service-kit" ;;
    bench) echo "ambient circuit-breaker tag-id redis-pool rate-limiter audit-chain catalog access idempotency keyring http-edge storage settings input problems service-kit test-support" ;;
    *) return 1 ;;
  esac
}

names_axum() { [[ " http-edge scan-service factory-service bench " == *" $1 "* ]]; }
above_http() { [[ " http-edge problems service-kit scan-service factory-service bench " == *" $1 "* ]]; }

FAILURES=0
fail() {
  printf '%s\n' "$*" >&2
  FAILURES=$((FAILURES + 1))
}

# Names of the packages that a crate depends on: the direct ones, or all of them.
dependencies() { # crate, depth or nothing
  local depth=()
  if [[ -n "${2:-}" ]]; then depth=(--depth "$2"); fi
  cargo tree --package "$1" --edges normal --target all --all-features --prefix none --format '{p}' "${depth[@]}" |
    sed 1d | cut -d' ' -f1 | sort -u
}

mapfile -t CRATES < <(cargo metadata --no-deps --format-version 1 |
  grep -oE '"name":"[^"]+","version":"[^"]+","id":"(path\+file|[^"]*file:)[^"]*"' | sed -E 's/"name":"([^"]+)".*/\1/' | sort -u)
((${#CRATES[@]} > 5)) || die "could not read the crates of the workspace from cargo metadata"

for crate in "${CRATES[@]}"; do
  if ! allowed="$(allowed_for "$crate")"; then
    fail "$crate: has no place yet; give it a line in scripts/check_imports.sh"
    continue
  fi
  direct="$(dependencies "$crate" 1)"
  for other in "${CRATES[@]}"; do
    if grep -qx "$other" <<<"$direct" && [[ " $allowed " != *" $other "* ]]; then
      fail "$crate: must not know $other"
    fi
  done
  if grep -qx axum <<<"$direct" && ! names_axum "$crate"; then
    fail "$crate: must not name axum; only http-edge and the services do"
  fi
  if ! above_http "$crate"; then
    all="$(dependencies "$crate")"
    for web in axum axum-core http http-body hyper hyper-util tower-http; do
      if grep -qx "$web" <<<"$all"; then
        fail "$crate: must not know $web (see: cargo tree -p $crate -e normal -i $web)"
      fi
    done
  fi
done

# `env!` is the compiler's; only the reading at run time is meant.
while IFS= read -r hit; do
  case "${hit%%:*}" in
    crates/settings/src/env.rs | crates/ambient/src/crash.rs | crates/bench/src/process.rs) ;;
    *) fail "$hit: only the crate settings reads the environment" ;;
  esac
done < <(grep -RnE '\benv::(var|vars|var_os|vars_os)\b' --include='*.rs' crates/*/src services/*/src || true)

if ((FAILURES > 0)); then
  die "$FAILURES breaches of the direction of imports"
fi
say "Summary: ${#CRATES[@]} crates, each knows only what it may"
