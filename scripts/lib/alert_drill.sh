# shellcheck shell=bash disable=SC2034  # the other files of the drill read what it sets
# The stack of alert_drill.sh, and what is measured of each fault. Source it after private_stack.sh and
# monitoring.sh.

MONITOR_DIR="$WORK/monitor"
DRILL_ROWS=()

# Limits that a light load reaches, and short times, so that each fault shows within seconds.
drill_settings() {
  export RATE_LIMIT_REDIS_URL="redis://127.0.0.1:$LIMITER_PORT"
  export GLOBAL_REDIS_URL="redis://127.0.0.1:$GLOBAL_PORT"
  export COLD_START_SECS=3 RATE_LIMIT_IP_PER_MINUTE=1000000 REDIS_POOL_SIZE=4 REDIS_POOL_WAIT_MS=20
  export MAX_CONNECTIONS_PER_CLIENT=64 AUDIT_CHECKPOINT_SECS=1
  export RATE_LIMIT_FACTORY_WRITES_PER_MINUTE=100000 RATE_LIMIT_FACTORY_READS_PER_MINUTE=100000
}

start_drill_stack() {
  APPENDFSYNC=always # anything weaker is a warning
  prepare_private "$PROFILE"
  SIGNING_KEY="$(random_hex 32)"
  LIMITER_PORT="$(free_port "$((REDIS_PORT + 1))")"
  start_redis_in "$WORK/limiter" "$LIMITER_PORT" --appendonly yes
  GLOBAL_PORT="$(free_port "$((LIMITER_PORT + 1))")"
  start_redis_in "$WORK/global" "$GLOBAL_PORT" --appendonly yes
  drill_settings
  write_leaked_tags
  start_signing_factory
  wait_ready "$FACTORY_URL"
  start_scan_service
  wait_ready "$SCAN_URL"
  PRODUCT="$(create_product '{"name":"Drill jacket","brand":"Drill"}')"
  factory GET "/v1/batches/$(create_batch "$PRODUCT" 500)/tags?format=csv" | sed 1d |
    cut -d, -f2 >"$WORK/tags"
  traffic &
  TRAFFIC_PID=$!
  choose_monitoring_ports 29090 29190
  write_monitoring_config
  shorten_windows
  start_alertmanager
  start_prometheus
  until_true 60 has_targets 2 || die "Prometheus does not scrape both services"
}

# Replaces minutes and hours by seconds. All windows of one rule keep their order.
shorten_windows() {
  local file="$MONITOR_DIR/prometheus.yml"
  sed -i -E 's/(scrape|evaluation)_interval: .*/\1_interval: 1s/' "$file"
  sed -i -E -e 's/group_wait: .*/group_wait: 1s/' -e 's/group_interval: .*/group_interval: 1s/' \
    "$MONITOR_DIR/alertmanager.yml"
  sed -i -E \
    -e 's/\[(1m|5m)\]/[8s]/g' -e 's/\[(15m|30m)\]/[10s]/g' -e 's/\[1h\]/[12s]/g' -e 's/\[6h\]/[14s]/g' \
    -e 's/\[3d\]/[16s]/g' -e 's/^( *for:) *(30s|1m)$/\1 2s/' -e 's/^( *for:) *2m$/\1 3s/' \
    -e 's/^( *for:) *10m$/\1 8s/' -e 's/(voketag_audit_oldest_unsigned_seconds\)) > 60/\1 > 6/' \
    "$MONITOR_DIR"/rules/*.yml
  # Three starts take longer than that.
  sed -i -E 's/(process_start_time_seconds.*)\[10s\]/\1[20s]/' "$MONITOR_DIR/rules/causes.yml"
  grep -qF 'oldest_unsigned_seconds) > 6' "$MONITOR_DIR/rules/causes.yml" ||
    die "the threshold of VokeTagEntriesUnsigned was not shortened: the rule has changed"
}

# Scans and mints until $WORK/stop exists, whatever the answers are. A subshell: a failed call ends no script.
traffic() {
  local tag rounds=0
  set +e
  while [[ ! -e "$WORK/stop" ]]; do
    rounds=$((rounds + 1))
    for tag in $(shuf -n 8 "$WORK/tags"); do printf 'url = "%s/v1/scan/%s"\n' "$SCAN_URL" "$tag"; done |
      curl -s -m 3 -o /dev/null -H "X-Forwarded-For: 192.0.2.$((RANDOM % 250))" -K - >/dev/null 2>&1
    if ((rounds % 4 == 0)); then (create_batch "$PRODUCT" 1) >/dev/null 2>&1; fi
    sleep 0.1
  done
}

all_alerts() { printf '%s %s' "$(alerts_in active | xargs)" "$(alerts_in suppressed | xargs)"; }

no_alerts() {
  local found
  found="$(all_alerts)" && [[ "${found// /}" == '' ]]
}

# Alertmanager shows one alert as active.
only_active() { # alert
  [[ "$(alerts_in active | sort -u)" == "$1" ]]
}

# Watches for 6 s that nothing but the alert becomes active, and collects what it inhibits in FOLLOWERS.
watch_alert() { # alert
  local until=$((SECONDS + 6)) active
  FOLLOWERS=''
  while ((SECONDS < until)); do
    active="$(alerts_in active | sort -u | xargs)"
    if [[ "$active" != "$1" ]]; then
      warn "beside $1, Alertmanager shows: $active"
      return 1
    fi
    FOLLOWERS="$(printf '%s\n%s\n' "$FOLLOWERS" "$(alerts_in suppressed)" | sed '/^$/d' | sort -u)"
    sleep 0.5
  done
}

# Causes a fault, and measures how long its alert takes to fire and, after the mending, to resolve.
run_fault() { # name, alert, text for the table
  local name="$1" alert="$2" started fired='-' resolved='-' verdict=ok
  FOLLOWERS=''
  started=$SECONDS
  "cause_${name//-/_}"
  if until_true 60 only_active "$alert"; then
    fired=$((SECONDS - started))
    watch_alert "$alert" || verdict="another alert"
  else
    verdict="did not fire"
    warn "$alert did not fire alone within 60 s; Alertmanager shows: $(all_alerts)"
  fi
  started=$SECONDS
  "mend_${name//-/_}"
  if until_true 90 no_alerts; then
    resolved=$((SECONDS - started))
  else
    verdict="$verdict, did not resolve"
    warn "90 s after the mending, Alertmanager shows: $(all_alerts)"
  fi
  if [[ "$verdict" != ok ]]; then FAILED=$((FAILED + 1)); fi
  say "$alert fired after $fired s and resolved after $resolved s: $verdict"
  DRILL_ROWS+=("| $3 | $alert | $(xargs <<<"${FOLLOWERS//VokeTag/}") | $fired | $resolved | $verdict |")
}

print_drill_table() {
  say '| fault | alert | inhibited | fires after, s | resolves after, s | result |'
  say '| --- | --- | --- | --- | --- | --- |'
  printf '%s\n' "${DRILL_ROWS[@]}"
}

stop_drill() {
  local status=$? name
  set +e # else the first failure would leave processes behind
  touch "$WORK/stop"
  if ((status != 0)) && [[ -s "$MONITOR_DIR/prometheus.log" ]]; then tail -n 3 "$MONITOR_DIR"/*.log >&2; fi
  stop_monitoring
  if [[ -n "${TRAFFIC_PID:-}" ]]; then wait "$TRAFFIC_PID" || true; fi
  for name in . limiter global; do # a frozen one ends only after it continues
    if runs "$WORK/$name/redis.pid" -server; then kill -CONT "$(<"$WORK/$name/redis.pid")"; fi
  done
  stop_process "$WORK/limiter/redis.pid" -server
  stop_process "$WORK/global/redis.pid" -server
  stop_process "$WORK/other/redis.pid" -server
  (exit "$status")
  stop_private
}
trap stop_drill EXIT
