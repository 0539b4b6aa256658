# shellcheck shell=bash disable=SC2034  # what is set here is read by the scripts that source it
# A Redis and both services for one script's own use, gone when it ends. Sourced after lib.sh.

WORK="$(mktemp -d "${TMPDIR:-/tmp}/voketag-stack.XXXXXX")"

stop_private() {
  local status=$?
  if ((status != 0)) && [[ -s "$WORK/scan-service.log" ]]; then
    warn "the last lines of the services' logs:"
    tail -n 5 "$WORK"/*-service.log >&2 || true
  fi
  stop_process "$WORK/scan-service.pid" scan-service
  stop_process "$WORK/factory-service.pid" factory-service
  stop_process "$WORK/redis.pid" -server
  rm -rf "$WORK"
}
trap stop_private EXIT
trap 'exit 130' INT TERM

# Starts a Redis and both services of their own on free ports; sets SCAN_URL and FACTORY_URL. The environment's settings are passed on,
# but for those that would reach outside.
start_private() { # profile: debug or release
  local redis_port scan_port factory_port key
  PROFILE="$1"
  need_redis_server
  redis_port="$(free_port 26379)"
  scan_port="$(free_port 28080)"
  factory_port="$(free_port "$((scan_port + 1))")"
  key="private_$(random_hex 24)"
  PRIVATE_REDIS_PORT="$redis_port"
  start_redis
  SCAN_URL="http://127.0.0.1:$scan_port"
  FACTORY_URL="http://127.0.0.1:$factory_port"
  (umask 077 && printf 'Authorization: Bearer %s\n' "$key" >"$WORK/auth.header")
  unset "${!TAG_MASTER_SECRET@}" "${!FACTORY_API_KEY@}" "${!AUDIT_SIGNING_KEY@}"
  export TAG_MASTER_SECRET REDIS_URL PUBLIC_BASE_URL FACTORY_API_KEY STATE_DIR
  STATE_DIR="$WORK/state"
  TAG_MASTER_SECRET="$(random_hex 32)"
  REDIS_URL="redis://127.0.0.1:$redis_port"
  PUBLIC_BASE_URL="$SCAN_URL"
  FACTORY_API_KEY="$key"
  unset RATE_LIMIT_REDIS_URL GLOBAL_REDIS_URL METRICS_BIND_ADDR TAG_KEY_EPOCH DEPLOYMENT_INIT REGION COLD_START_SECS COLD_START_FACTOR
  start factory-service "$factory_port"
  # A load generator may then speak for many addresses.
  TRUSTED_PROXIES=127.0.0.0/8 start scan-service "$scan_port"
}

# Starts the private Redis, the first time or again on its files. APPENDFSYNC chooses how soon they are on the disk.
start_redis() {
  (
    cd "$WORK" || exit
    exec "$REDIS_SERVER" --port "$PRIVATE_REDIS_PORT" --bind 127.0.0.1 --dir . --save '' --appendonly yes \
      --appendfsync "${APPENDFSYNC:-everysec}" --maxmemory-policy noeviction >>redis.log 2>&1 </dev/null
  ) &
  echo $! >"$WORK/redis.pid"
  until_true 30 redis_answers "$PRIVATE_REDIS_PORT" || die "the private Redis did not answer within 30 s"
}

start() { # service, port
  BIND_ADDR="127.0.0.1:$2" "$TARGET_DIR/$PROFILE/$1" serve >"$WORK/$1.log" 2>&1 </dev/null &
  echo $! >"$WORK/$1.pid"
  until_true 60 answers_200 "http://127.0.0.1:$2/v1/ready" || die "$1 was not ready within 60 s"
}

factory() { # method, path, [json]
  local data=()
  if [[ -n "${3:-}" ]]; then data=(-H 'content-type: application/json' --data "$3"); fi
  curl -sS -m 60 --fail-with-body -X "$1" -H "@$WORK/auth.header" "${data[@]}" "$FACTORY_URL$2"
}
