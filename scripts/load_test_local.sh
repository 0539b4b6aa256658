#!/usr/bin/env bash
# 80 and 150 clients at once, and what must hold while they press.
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source-path=SCRIPTDIR source=stack_lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/stack_lib.sh"

usage() {
  cat <<'HELP'
Usage: ./scripts/load_test_local.sh [--seconds N] [--running]

Starts a private Redis and both services (optimised) on free ports, mints a batch, presses, and stops everything again. Asks nothing.
It must hold that

  - a region that has just been born is cold, and one address gets no more than half its limit
  - 80 and then 150 clients, who look like many addresses, see no 5xx
  - every 429 says when to come back (Retry-After)
  - the audit chain verifies afterwards

  --seconds N   how long each of the two loads lasts (default 10)
  --running     press the services that dev_up.sh started instead: no 5xx, and Retry-After on every 429. All clients are one
                address there, so most answers are 429
  --help        this text
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

# ---- what is pressed ----

use_running() {
  local service
  for service in scan-service factory-service; do
    runs "$DEV_DIR/$service.pid" "$service" || die "$service does not run: ./scripts/dev_up.sh starts it"
  done
  SCAN_URL="http://127.0.0.1:$(<"$DEV_DIR/scan-service.port")"
  FACTORY_URL="http://127.0.0.1:$(<"$DEV_DIR/factory-service.port")"
  (umask 077 && sed -n 's/^FACTORY_API_KEY=/Authorization: Bearer /p' "$DEV_DIR/env" >"$WORK/auth.header")
}

mint() {
  local answer product batch
  answer="$(factory POST /v1/products '{"name":"Load test","brand":"VokeTag"}')" || die "the product was refused: $answer"
  product="$(json_string id <<<"$answer")"
  answer="$(factory POST /v1/batches "{\"product_id\":\"$product\",\"size\":$BATCH_SIZE}")" || die "the batch was refused: $answer"
  batch="$(json_string id <<<"$answer")"
  factory GET "/v1/batches/$batch/tags?format=csv&limit=$TAGS" | sed 1d | cut -d, -f2 >"$WORK/tags"
  (($(wc -l <"$WORK/tags") == TAGS)) || die "the export held $(wc -l <"$WORK/tags") tags, not $TAGS"
  say "minted $BATCH_SIZE tags, pressing on $TAGS of them"
}

# ---- pressing and judging ----

# Runs the load generator; leaves its JSON in RESULT and says what it saw.
press() { # what, arguments of `bench load`
  local what="$1"
  shift
  RESULT="$("$TARGET_DIR/release/bench" load --url "$SCAN_URL/v1/scan" --tags "$WORK/tags" "$@" --json)" || die "the load generator failed: $RESULT"
  printf '  %-34s %9s req  %9s req/s   p50 %s  p90 %s  p99 %s  max %s ms   %s\n' "$what" "$(json_scalar requests <<<"$RESULT")" \
    "$(json_scalar rps <<<"$RESULT")" "$(json_scalar p50_ms <<<"$RESULT")" "$(json_scalar p90_ms <<<"$RESULT")" \
    "$(json_scalar p99_ms <<<"$RESULT")" "$(json_scalar max_ms <<<"$RESULT")" "$(tr -d '\n ' <<<"$RESULT" | grep -oE '"statuses":\{[^}]*\}' || true)"
  (($(json_scalar requests <<<"$RESULT") > 0)) || breach "$what: no request was answered"
  (($(status_count '5[0-9][0-9]') == 0)) || breach "$what: $(status_count '5[0-9][0-9]') answers were 5xx"
  (($(status_count '[0-9]+') == $(status_count '200') + $(status_count '429') + $(status_count '5[0-9][0-9]'))) ||
    breach "$what: something other than 200 and 429 was answered"
  [[ "$(json_scalar missing_retry_after <<<"$RESULT")" == 0 ]] ||
    breach "$what: $(json_scalar missing_retry_after <<<"$RESULT") refusals came without Retry-After"
}

# How many answers had a status like this.
status_count() { # extended regular expression
  tr -d '\n ' <<<"$RESULT" | grep -oE '"statuses":\{[^}]*\}' | grep -oE "\"$1\":[0-9]+" | awk -F: '{ n += $2 } END { print n + 0 }'
}

cold_start() {
  local region admitted
  region="$(curl -sS -m 5 --fail-with-body "$SCAN_URL/v1/region")"
  say "  region: $region"
  [[ "$(json_string state <<<"$region")" == cold ]] || breach "a region that was just born is not cold"
  press "cold, one address, 80 clients" --connections 80 --requests 2000
  admitted="$(status_count 200)"
  say "  admitted $admitted of 2,000; the limit is $LIMIT a minute, $((LIMIT / 2)) while cold"
  ((admitted <= LIMIT / 2)) || breach "a cold region admitted $admitted from one address, more than $((LIMIT / 2))"
  ((admitted > 0)) || breach "a cold region admitted nothing at all"
}

need_rust
need_curl
if [[ "$RUNNING" == no ]]; then need_redis_server; fi
step "Building, optimised"
build_optimised

step "Starting"
if [[ "$RUNNING" == yes ]]; then use_running; else RATE_LIMIT_IP_PER_MINUTE=$LIMIT start_private release; fi
say "scan-service $SCAN_URL, factory-service $FACTORY_URL"
mint

if [[ "$RUNNING" == yes ]]; then
  step "Pressing"
  say "  region: $(curl -sS -m 5 "$SCAN_URL/v1/region")"
  press "one address, 80 clients" --connections 80 --seconds "$SECONDS_EACH"
  press "one address, 150 clients" --connections 150 --seconds "$SECONDS_EACH"
else
  step "Cold start"
  cold_start
  step "Pressing"
  press "many addresses, 80 clients" --connections 80 --seconds "$SECONDS_EACH" --spread-addresses 50000
  press "many addresses, 150 clients" --connections 150 --seconds "$SECONDS_EACH" --spread-addresses 50000
fi

step "Afterwards"
answers_200 "$SCAN_URL/v1/ready" || breach "scan-service is not ready any more"
verified="$(factory POST /v1/audit/verify || true)"
say "  audit chain: $verified"
[[ "$(json_scalar ok <<<"$verified")" == true ]] || breach "the audit chain does not verify"

step "Summary of load_test_local.sh, $SECONDS s in all"
if ((${#BREACHES[@]} > 0)); then
  printf '  %s\n' "${BREACHES[@]}"
  die "${#BREACHES[@]} things did not hold"
fi
say "all held: no 5xx, Retry-After on every 429, the audit chain verifies$([[ "$RUNNING" == yes ]] || printf ', cold start halved the limit')"
