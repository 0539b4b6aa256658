#!/usr/bin/env bash
# Puts the services under the load of 80 and 150 concurrent clients, and checks what must hold.
# shellcheck source-path=SCRIPTDIR source=lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
# shellcheck source-path=SCRIPTDIR source=lib/private_stack.sh
source scripts/lib/private_stack.sh

usage() {
  cat <<'HELP'
Usage: ./scripts/load_test_local.sh [--seconds N] [--running]

Starts a private Redis and both services (release build) on free ports, mints a batch, applies the load, and
stops everything. Checks that

  - a new region is cold, and admits at most half the limit of one address
  - 80 and then 150 clients with many addresses see no 5xx
  - every 429 has Retry-After
  - the audit chain is valid afterwards

  --seconds N   duration of each of the two loads (default: 10)
  --running     use the services that dev_up.sh started: checks that there is no 5xx, and that every 429 has
                Retry-After. All clients have one address there, so most responses are 429
  --help        show this text
HELP
}

SECONDS_EACH=10
RUNNING=no
while (($# > 0)); do
  case "$1" in
    --seconds)
      SECONDS_EACH="${2:-}"
      [[ "$SECONDS_EACH" =~ ^[1-9][0-9]*$ ]] || die "--seconds takes a whole number of seconds, not '${2:-}'"
      shift
      ;;
    --running) RUNNING=yes ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && die "unknown argument: $1" ;;
  esac
  shift
done

LIMIT=100
BATCH_SIZE=100000
TAGS=20000
BREACHES=()

breach() {
  BREACHES+=("$*")
  printf '%sbreach:%s %s\n' "$RED" "$PLAIN" "$*" >&2
}

use_running() {
  local service
  for service in scan-service factory-service; do
    runs "$DEV_DIR/$service.pid" "$service" || die "$service is not running: ./scripts/dev_up.sh starts it"
  done
  SCAN_URL="http://127.0.0.1:$(<"$DEV_DIR/scan-service.port")"
  FACTORY_URL="http://127.0.0.1:$(<"$DEV_DIR/factory-service.port")"
  (umask 077 && sed -n 's/^FACTORY_API_KEY=/Authorization: Bearer /p' "$DEV_DIR/env" >"$AUTH_FILE")
}

mint() {
  local product batch
  product="$(create_product '{"name":"Load test","brand":"VokeTag"}')"
  batch="$(create_batch "$product" "$BATCH_SIZE")"
  factory GET "/v1/batches/$batch/tags?format=csv&limit=$TAGS" | sed 1d | cut -d, -f2 >"$WORK/tags"
  (($(wc -l <"$WORK/tags") == TAGS)) || die "the export had $(wc -l <"$WORK/tags") tags, expected $TAGS"
  say "minted $BATCH_SIZE tags; the load scans $TAGS of them"
}

# Runs the load generator, sets RESULT to its JSON, and prints and checks the figures.
apply_load() { # what, arguments of `bench load`
  local what="$1" failed
  shift
  RESULT="$("$TARGET_DIR/release/bench" load --url "$SCAN_URL/v1/scan" --tags "$WORK/tags" "$@" --json)" ||
    die "the load generator failed: $RESULT"
  printf '  %-34s %9s req  %9s req/s   p50 %s  p90 %s  p99 %s  max %s ms   %s\n' "$what" \
    "$(result requests)" "$(result rps)" "$(result p50_ms)" "$(result p90_ms)" "$(result p99_ms)" \
    "$(result max_ms)" "$(statuses)"
  (($(result requests) > 0)) || breach "$what: no request got a response"
  failed="$(status_count '5[0-9][0-9]')"
  ((failed == 0)) || breach "$what: $failed responses were 5xx"
  (($(status_count '[0-9]+') == $(status_count '200') + $(status_count '429') + failed)) ||
    breach "$what: some responses were neither 200 nor 429"
  (($(result missing_retry_after) == 0)) ||
    breach "$what: $(result missing_retry_after) responses with 429 had no Retry-After"
}

result() { json_scalar "$1" <<<"$RESULT"; }

statuses() { tr -d '\n ' <<<"$RESULT" | grep -oE '"statuses":\{[^}]*\}' || true; }

# Prints how many responses had a matching status.
status_count() { # extended regular expression
  statuses | { grep -oE "\"$1\":[0-9]+" || true; } | awk -F: '{ n += $2 } END { print n + 0 }'
}

cold_start() {
  local region admitted
  region="$(curl -sS -m 5 --fail-with-body "$SCAN_URL/v1/region")"
  say "  region: $region"
  [[ "$(json_string state <<<"$region")" == cold ]] || breach "a new region is not cold"
  apply_load "cold, one address, 80 clients" --connections 80 --requests 2000
  admitted="$(status_count 200)"
  say "  admitted $admitted of 2,000; the limit is $LIMIT per minute, $((LIMIT / 2)) while cold"
  ((admitted <= LIMIT / 2)) || breach "a cold region admitted $admitted requests of one address"
  ((admitted > 0)) || breach "a cold region admitted no request"
}

need_rust
need_curl
if [[ "$RUNNING" == no ]]; then need_redis_server; fi
step "Building (release)"
build_services release

step "Starting"
if [[ "$RUNNING" == yes ]]; then use_running; else RATE_LIMIT_IP_PER_MINUTE=$LIMIT start_private release; fi
say "scan-service $SCAN_URL, factory-service $FACTORY_URL"
mint

if [[ "$RUNNING" == yes ]]; then
  step "Load"
  say "  region: $(curl -sS -m 5 "$SCAN_URL/v1/region")"
  apply_load "one address, 80 clients" --connections 80 --seconds "$SECONDS_EACH"
  apply_load "one address, 150 clients" --connections 150 --seconds "$SECONDS_EACH"
else
  step "Cold start"
  cold_start
  step "Load"
  MANY=(--seconds "$SECONDS_EACH" --spread-addresses 50000)
  apply_load "many addresses, 80 clients" --connections 80 "${MANY[@]}"
  apply_load "many addresses, 150 clients" --connections 150 "${MANY[@]}"
fi

step "Afterwards"
answers_200 "$SCAN_URL/v1/ready" || breach "scan-service is not ready after the load"
verified="$(factory POST /v1/audit/verify || true)"
say "  audit chain: $verified"
[[ "$(json_scalar ok <<<"$verified")" == true ]] || breach "the audit chain is not valid"

step "Summary of load_test_local.sh, $SECONDS s in all"
if ((${#BREACHES[@]} > 0)); then
  printf '  %s\n' "${BREACHES[@]}"
  die "${#BREACHES[@]} checks failed"
fi
COLD=''
if [[ "$RUNNING" == no ]]; then COLD=', the cold region admitted at most half'; fi
say "all checks passed: no 5xx, Retry-After on every 429, a valid audit chain$COLD"
