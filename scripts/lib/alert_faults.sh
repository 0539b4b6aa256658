# shellcheck shell=bash
# The faults of alert_drill.sh: `cause_<name>` causes one, `mend_<name>` mends it. Source it after
# alert_drill.sh.

# name | alert | text for the table
FAULTS='
redis-killed|VokeTagRedisUnavailable|durable Redis killed
redis-frozen|VokeTagRedisUnavailable|durable Redis frozen
redis-full|VokeTagRedisRefusesWrites|durable Redis full
redis-read-only|VokeTagRedisRefusesWrites|durable Redis made a read-only replica
redis-without-fsync|VokeTagRedisMayLoseData|durable Redis without fsync
deployment-gone|VokeTagStateLost|deployment record gone
stray-entry|VokeTagAuditChainDamaged|an entry behind the audit head
signing-stopped|VokeTagEntriesUnsigned|signing stopped while entries come
limiter-emptied|VokeTagLimiterStateLost|limiter Redis emptied
global-stopped|VokeTagGlobalLimitUnavailable|global limiter Redis killed
flood|VokeTagOverload|flood of scans
many-connections|VokeTagConnectionsShed|many connections of one client
secret-leaked|VokeTagKeyLeak|tags made with a leaked secret
service-killed|VokeTagInstanceDown|scan-service killed
restart-loop|VokeTagRestartLoop|factory-service restarted again and again
'

fault_line() { grep -E "^$1\|" <<<"$FAULTS"; }
fault_names() { cut -d '|' -f 1 <<<"$FAULTS" | xargs; }

durable() { redis_reply "$REDIS_PORT" "$@" >/dev/null; }

cause_redis_killed() { kill_redis; }
mend_redis_killed() { start_redis; }

cause_redis_frozen() { kill -STOP "$(<"$WORK/redis.pid")"; }
mend_redis_frozen() { kill -CONT "$(<"$WORK/redis.pid")"; }

cause_redis_full() { durable CONFIG SET maxmemory 1mb; }
mend_redis_full() { durable CONFIG SET maxmemory 0; }

# Nothing answers on port 1, so the data stay.
cause_redis_read_only() { durable REPLICAOF 127.0.0.1 1; }
mend_redis_read_only() { durable REPLICAOF NO ONE; }

cause_redis_without_fsync() { durable CONFIG SET appendfsync no; }
mend_redis_without_fsync() { durable CONFIG SET appendfsync always; }

cause_deployment_gone() { durable RENAME vt1:deployment drill:deployment; }
mend_deployment_gone() { durable RENAME drill:deployment vt1:deployment; }

# The drill's chain fits into the first segment.
cause_stray_entry() { durable RPUSH 'vt1:{audit}:seg:0' stray; }
mend_stray_entry() { durable RPOP 'vt1:{audit}:seg:0'; }

# The factory signs only with a key. Entries come from the load.
start_signing_factory() { AUDIT_SIGNING_KEY="$SIGNING_KEY" start_factory_service; }
cause_signing_stopped() {
  stop_process "$WORK/factory-service.pid" factory-service
  start_factory_service
}
mend_signing_stopped() {
  stop_process "$WORK/factory-service.pid" factory-service
  start_signing_factory
}

cause_limiter_emptied() { redis_reply "$LIMITER_PORT" FLUSHALL >/dev/null; }
mend_limiter_emptied() { :; } # the region warms up by itself

cause_global_stopped() { kill_private "$WORK/global/redis.pid"; }
mend_global_stopped() { start_redis_in "$WORK/global" "$GLOBAL_PORT" --appendonly yes; }

# 300 scans at once, again and again: more than four permits carry.
cause_flood() {
  local tag
  for tag in $(shuf -r -n 3000 "$WORK/tags"); do printf 'url = "%s/v1/scan/%s"\n' "$SCAN_URL" "$tag"; done \
    >"$WORK/flood"
  (
    set +e
    until [[ -e "$WORK/calm" || -e "$WORK/stop" ]]; do
      curl -s -m 10 -o /dev/null --parallel --parallel-immediate --parallel-max 300 -K "$WORK/flood"
    done
  ) >/dev/null 2>&1 &
  FLOOD_PID=$!
}
mend_flood() {
  touch "$WORK/calm"
  wait "$FLOOD_PID" || true
}

# The factory counts connections by address; those of this machine have one.
cause_many_connections() {
  local descriptor port="${FACTORY_URL##*:}" opened=()
  for _ in {1..90}; do
    exec {descriptor}<>"/dev/tcp/127.0.0.1/$port"
    opened+=("$descriptor")
  done
  for descriptor in "${opened[@]}"; do exec {descriptor}>&-; done
} 2>/dev/null
mend_many_connections() { :; } # they are closed

# Mints tags with the same secret in another deployment, as somebody with the leaked secret could. Writes them
# to $WORK/leaked.
write_leaked_tags() {
  local port url batch product
  port="$(free_port "$((GLOBAL_PORT + 1))")"
  start_redis_in "$WORK/other" "$port" --appendonly no
  url="http://127.0.0.1:$(free_port 28280)"
  (
    unset RATE_LIMIT_REDIS_URL GLOBAL_REDIS_URL
    export REDIS_URL="redis://127.0.0.1:$port" STATE_DIR="$WORK/other" BIND_ADDR="${url#http://}"
    exec "$BINARIES/factory-service" serve >"$WORK/other/factory-service.log" 2>&1 </dev/null
  ) &
  echo $! >"$WORK/other/factory.pid"
  wait_ready "$url"
  product="$(FACTORY_URL="$url" create_product '{"name":"Copy","brand":"Copy"}')"
  batch="$(FACTORY_URL="$url" create_batch "$product" 20)"
  FACTORY_URL="$url" factory GET "/v1/batches/$batch/tags?format=csv" | sed 1d | cut -d, -f2 >"$WORK/leaked"
  stop_process "$WORK/other/factory.pid" factory-service
  stop_process "$WORK/other/redis.pid" -server
}

cause_secret_leaked() {
  local tag
  while read -r tag; do
    curl -s -m 5 -o /dev/null -H 'X-Forwarded-For: 198.51.100.7' "$SCAN_URL/v1/scan/$tag"
  done <"$WORK/leaked"
}
mend_secret_leaked() { :; } # nobody presents them any more

cause_service_killed() { kill_private "$WORK/scan-service.pid"; }
mend_service_killed() { start_scan_service; }

# Prints when the factory started, or nothing while Prometheus cannot scrape it.
start_seen_by_prometheus() {
  curl -sS -m 5 -G --data-urlencode 'query=process_start_time_seconds{job="factory-service"}' \
    "$PROMETHEUS_URL/api/v1/query" | { grep -oE '"value":\[[^]]*\]' || true; } | cut -d '"' -f 4
}
another_start_seen() { # the former start
  local seen
  seen="$(start_seen_by_prometheus)"
  [[ -n "$seen" && "$seen" != "$1" ]]
}

cause_restart_loop() {
  local seen
  for _ in {1..3}; do
    seen="$(start_seen_by_prometheus)"
    kill_private "$WORK/factory-service.pid"
    start_signing_factory
    until_true 30 another_start_seen "$seen" || die "Prometheus does not see the factory's new start"
  done
}
mend_restart_loop() { :; } # it runs
