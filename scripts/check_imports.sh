#!/usr/bin/env bash
# Checks the direction of the dependencies between crates.
# shellcheck source-path=SCRIPTDIR source=lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

usage() {
  cat <<'HELP'
Usage: ./scripts/check_imports.sh

Reads the normal dependencies of every crate from cargo, and fails if one breaks these rules:

  - every crate is listed in this script, and depends only on the workspace crates that are listed for it
  - services do not depend on each other; no shipped crate depends on test-support
  - only http-edge, the services and the bench depend directly on axum; a crate below http-edge depends on
    axum, http and hyper neither directly nor indirectly
  - domain code in the services names neither axum, http, http-edge nor problems; http-edge names no error of
    the product
  - only settings reads the environment; exceptions are ambient's crash points for tests and the bench's child
    processes

  --help   show this text
HELP
}

no_arguments "$@"
need_rust

# The crates that a crate may depend on, from the bottom up. A new crate needs a line here.
DOMAIN="ambient circuit-breaker spans tag-id redis-pool rate-limiter audit-chain catalog access idempotency"
DOMAIN+=" keyring"
allowed_for() { # crate
  case "$1" in
    ambient | circuit-breaker | tag-id | input | status-page | spans) echo "" ;;
    telemetry) echo "spans" ;;
    redis-pool) echo "ambient circuit-breaker spans" ;;
    rate-limiter | audit-chain) echo "ambient circuit-breaker spans redis-pool" ;;
    access | idempotency) echo "ambient circuit-breaker spans redis-pool audit-chain" ;;
    catalog) echo "ambient circuit-breaker redis-pool audit-chain tag-id" ;;
    keyring) echo "ambient circuit-breaker redis-pool audit-chain tag-id catalog" ;;
    http-edge) echo "ambient input spans status-page" ;;
    test-support) echo "ambient" ;;
    problems)
      echo "ambient redis-pool audit-chain catalog access idempotency keyring storage input http-edge"
      ;;
    storage) echo "ambient circuit-breaker spans tag-id redis-pool audit-chain catalog access keyring" ;;
    settings)
      echo "circuit-breaker spans telemetry tag-id redis-pool rate-limiter catalog keyring storage http-edge"
      ;;
    scan-service | factory-service) echo "$DOMAIN http-edge storage settings telemetry input problems" ;;
    bench) echo "$DOMAIN http-edge storage settings input problems test-support" ;;
    *) return 1 ;;
  esac
}

may_name_axum() { [[ " http-edge scan-service factory-service bench " == *" $1 "* ]]; }
above_http() {
  [[ " http-edge telemetry problems settings scan-service factory-service bench " == *" $1 "* ]]
}

FAILURES=0
fail() {
  printf '%s\n' "$*" >&2
  FAILURES=$((FAILURES + 1))
}

# Prints the packages that a crate depends on.
dependencies() { # crate, [depth]
  local depth=()
  if [[ -n "${2:-}" ]]; then depth=(--depth "$2"); fi
  cargo tree --package "$1" --edges normal --target all --all-features --prefix none --format '{p}' \
    "${depth[@]}" | sed 1d | cut -d' ' -f1 | sort -u
}

mapfile -t CRATES < <(cargo metadata --no-deps --format-version 1 |
  grep -oE '"name":"[^"]+","version":"[^"]+","id":"(path\+file|[^"]*file:)[^"]*"' |
  sed -E 's/"name":"([^"]+)".*/\1/' | sort -u)
((${#CRATES[@]} > 5)) || die "could not read the crates of the workspace from cargo metadata"

for crate in "${CRATES[@]}"; do
  if ! allowed="$(allowed_for "$crate")"; then
    fail "$crate: is not listed; add a line for it to scripts/check_imports.sh"
    continue
  fi
  direct="$(dependencies "$crate" 1)"
  for other in "${CRATES[@]}"; do
    if grep -qx "$other" <<<"$direct" && [[ " $allowed " != *" $other "* ]]; then
      fail "$crate: must not depend on $other"
    fi
  done
  if grep -qx axum <<<"$direct" && ! may_name_axum "$crate"; then
    fail "$crate: must not depend on axum directly"
  fi
  if ! above_http "$crate"; then
    all="$(dependencies "$crate")"
    for web in axum axum-core http http-body hyper hyper-util tower-http; do
      if grep -qx "$web" <<<"$all"; then
        fail "$crate: must not depend on $web (see: cargo tree -p $crate -e normal -i $web)"
      fi
    done
  fi
done

# The macro `env!` reads at compile time and is allowed.
while IFS= read -r hit; do
  case "${hit%%:*}" in
    crates/settings/src/env.rs | crates/ambient/src/crash.rs | crates/bench/src/process.rs) ;;
    *) fail "$hit: only the crate settings may read the environment" ;;
  esac
done < <(grep -RnE '\benv::(var|vars|var_os|vars_os)\b' --include='*.rs' crates/*/src services/*/src || true)

# Only handlers choose a status, a header or a problem.
while IFS= read -r hit; do
  fail "$hit: domain code must not name HTTP; return a typed error and map it in the handlers"
done < <(grep -RnE '\b(axum|http|http_edge|problems)::|\b(ApiError|HttpError|StatusCode)\b' \
  --include='*.rs' services/*/src/domain || true)

# The crate problems defines the product's errors.
PRODUCT='\b\w*(TagId|TagNotFound|Redis|Audit|StateLost|Idempotency|Keyring|Tenant)[A-Z]?\w*\b'
PRODUCT_SLUG='"(tag|redis|audit|state|idempotency)-[a-z-]+"'
while IFS= read -r hit; do
  fail "$hit: http-edge must not name the product; define this in the crate problems"
done < <(grep -RnE "$PRODUCT|$PRODUCT_SLUG" --include='*.rs' crates/http-edge/src |
  grep -vE '^[^:]+:[0-9]+: *//' || true)

if ((FAILURES > 0)); then
  die "$FAILURES forbidden dependencies"
fi
say "Summary: ${#CRATES[@]} crates checked, no forbidden dependency"
