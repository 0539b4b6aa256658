#!/usr/bin/env bash
# Runs every query of the Grafana dashboards against a real Prometheus that scrapes both services under load.
# shellcheck source-path=SCRIPTDIR source=lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
# shellcheck source-path=SCRIPTDIR source=lib/private_stack.sh
source scripts/lib/private_stack.sh
# shellcheck source-path=SCRIPTDIR source=lib/monitoring.sh
source scripts/lib/monitoring.sh
# shellcheck source-path=SCRIPTDIR source=lib/dashboard_queries.sh
source scripts/lib/dashboard_queries.sh

usage() {
  cat <<'HELP'
Usage: ./scripts/dashboards_test.sh [--release]

Starts three private Redis servers, both services and Prometheus, applies scans, denials, reports, changes, a
revocation and an outage of Redis, and runs each query of services/monitoring/grafana/dashboards: those of the
panels, the annotations and the variables. Fails if Prometheus rejects a query, or if a query has no data.
Takes about a minute. It does not render the dashboards: no package brings Grafana.

  --release    build and run optimised binaries (default: debug build)
  --help       show this text
HELP
}

MONITOR_DIR="$WORK/monitor"

stop_all() {
  local status=$?
  set +e
  touch "$WORK/stop"
  stop_monitoring
  stop_process "$WORK/limiter/redis.pid" -server
  stop_process "$WORK/global/redis.pid" -server
  (exit "$status")
  stop_private
}

start_all() {
  local limiter_port global_port
  prepare_private "$PROFILE"
  trap stop_all EXIT
  limiter_port="$(free_port "$((REDIS_PORT + 1))")"
  start_redis_in "$WORK/limiter" "$limiter_port" --appendonly no
  global_port="$(free_port "$((limiter_port + 1))")"
  start_redis_in "$WORK/global" "$global_port" --appendonly no
  export RATE_LIMIT_REDIS_URL="redis://127.0.0.1:$limiter_port"
  export GLOBAL_REDIS_URL="redis://127.0.0.1:$global_port" AUDIT_CHECKPOINT_SECS=1
  AUDIT_SIGNING_KEY="$(random_hex 32)" start_services
  choose_monitoring_ports 29490 29590
  # shellcheck disable=SC2119  # without an argument, the alerts go to the default receiver
  write_monitoring_config
  sed -i -E 's/(scrape|evaluation)_interval: .*/\1_interval: 1s/' "$MONITOR_DIR/prometheus.yml"
  start_prometheus
  until_true 60 has_targets 2 || die "Prometheus does not scrape both services"
}

scan_tags() { # client address, tag...
  local address="$1" tag
  shift
  for tag in "$@"; do printf 'url = "%s/v1/scan/%s"\noutput = "/dev/null"\n' "$SCAN_URL" "$tag"; done |
    curl -s -m 30 -A Mozilla/5.0 -H "X-Forwarded-For: $address" -K -
}

# Scans, denials, a forged id, a report, and changes with an Idempotency-Key.
apply_load() {
  local round batch product
  product="$(create_product '{"name":"Chart","brand":"Chart"}')"
  batch="$(create_batch "$product" 200)"
  mapfile -t TAGS < <(factory GET "/v1/batches/$batch/tags?format=csv" | sed 1d | cut -d, -f2)
  for round in {1..12}; do
    scan_tags "192.0.2.$round" "${TAGS[@]:0:40}" 85e49ec3-de12-8001-bccf-0ce2e6986017
    scan_tags 198.51.100.1 "${TAGS[@]:0:15}"
    curl -s -m 10 -o /dev/null -H 'content-type: application/json' -H "X-Forwarded-For: 203.0.113.$round" \
      --data "{\"tag_id\":\"${TAGS[round]}\",\"reason\":\"other\"}" "$SCAN_URL/v1/report"
    curl -s -m 10 -o /dev/null -H "@$AUTH_FILE" -H 'content-type: application/json' \
      -H "Idempotency-Key: \"round-$((round / 2))\"" --data '{"name":"x","brand":"Chart"}' \
      "$FACTORY_URL/v1/products"
    batch="$(create_batch "$product" 1)"
    factory POST "/v1/batches/$batch/revoke" '{"reason":"dashboards"}' >/dev/null
  done
}

# The breaker opens while scans fail.
outage() {
  kill_redis
  until_true 30 breaker_is open || die "no circuit breaker opened"
  start_redis
  wait_ready "$SCAN_URL"
  until_true 30 breaker_is closed || die "the circuit breaker did not close"
}

# Prometheus has seen that state, while a scan is tried.
breaker_is() { # open or closed
  scan_tags 192.0.2.99 "${TAGS[0]}" || true
  query "max_over_time(voketag_circuit_breaker_state{pool=\"durable\",job=\"scan-service\"}[2s])" |
    jq -e --argjson open "$([[ "$1" == open ]] && echo 2 || echo 0)" \
      '.data.result | length > 0 and (map(.value[1] | tonumber) | max) == $open' >/dev/null
}

parse_profile "$@"
need_rust
need_curl
need_jq
need_monitoring_tools
build_services "$PROFILE"
step "Starting the services and Prometheus"
start_all
STARTED=$EPOCHSECONDS
step "Load"
apply_load
outage
step "Queries"
TOTAL=0 FAILED=0
while IFS=$'\t' read -r dashboard place expression; do
  TOTAL=$((TOTAL + 1))
  found="$(series_with_data "$expression")"
  if [[ ! "$found" =~ ^[1-9] ]]; then
    FAILED=$((FAILED + 1))
    printf '%s, %s: %s series with data: %s\n' "$dashboard" "$place" "$found" "$expression" >&2
  fi
done < <(queries)
((TOTAL > 50)) || die "only $TOTAL queries were found in $DASHBOARDS"
((FAILED == 0)) || die "$FAILED of $TOTAL queries have no data"
COUNT="$(find "$DASHBOARDS" -name '*.json' | wc -l)"
step "Summary: all $TOTAL queries of $COUNT dashboards have data, $SECONDS s"
