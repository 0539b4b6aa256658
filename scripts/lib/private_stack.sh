# shellcheck shell=bash disable=SC2034  # the scripts that source this file read what it sets
# A private Redis and both services for one script, on free ports. They end with the script. Source it after
# common.sh.

WORK="$(mktemp -d "${TMPDIR:-/tmp}/voketag-stack.XXXXXX")"
AUTH_FILE="$WORK/auth.header"

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

# Starts Redis and both services, and sets SCAN_URL, FACTORY_URL and REDIS_PORT. The services get the settings
# of the environment, except secrets and addresses.
start_private() { # profile: debug or release
  prepare_private "$1"
  start_services
}

# Chooses ports and secrets, and starts Redis. Exports the secrets and addresses of the services. A script
# that sets more of them does so between this and start_services.
prepare_private() { # profile: debug or release
  local scan_port factory_port key
  BINARIES="$TARGET_DIR/$1"
  need_redis_server
  REDIS_PORT="$(free_port 26379)"
  scan_port="$(free_port 28080)"
  factory_port="$(free_port "$((scan_port + 1))")"
  key="private_$(random_hex 24)"
  start_redis
  SCAN_URL="http://127.0.0.1:$scan_port"
  FACTORY_URL="http://127.0.0.1:$factory_port"
  (umask 077 && printf 'Authorization: Bearer %s\n' "$key" >"$AUTH_FILE")
  unset "${!TAG_MASTER_SECRET@}" "${!FACTORY_API_KEY@}" "${!AUDIT_SIGNING_KEY@}"
  unset RATE_LIMIT_REDIS_URL GLOBAL_REDIS_URL METRICS_BIND_ADDR TAG_KEY_EPOCH DEPLOYMENT_INIT
  unset REGION COLD_START_SECS COLD_START_FACTOR
  export TAG_MASTER_SECRET REDIS_URL PUBLIC_BASE_URL FACTORY_API_KEY STATE_DIR
  STATE_DIR="$WORK/state"
  TAG_MASTER_SECRET="$(random_hex 32)"
  REDIS_URL="redis://127.0.0.1:$REDIS_PORT"
  PUBLIC_BASE_URL="$SCAN_URL"
  FACTORY_API_KEY="$key"
}

start_services() {
  start_factory_service
  wait_ready "$FACTORY_URL"
  start_scan_service
  wait_ready "$SCAN_URL"
}

# Starts Redis on the files in $WORK, if there are any. APPENDFSYNC selects when it writes them to disk.
start_redis() {
  start_redis_in "$WORK" "$REDIS_PORT" --appendonly yes --appendfsync "${APPENDFSYNC:-everysec}"
}

# Starts a Redis on the files in a directory, and writes its process id to redis.pid there.
start_redis_in() { # directory, port, [further arguments]
  local directory="$1" port="$2"
  shift 2
  mkdir -p "$directory"
  (
    cd "$directory" || exit
    exec "$REDIS_SERVER" --port "$port" --bind 127.0.0.1 --dir . --save '' --maxmemory-policy noeviction \
      "$@" >>redis.log 2>&1 </dev/null
  ) &
  echo $! >"$directory/redis.pid"
  until_true 60 redis_answers "$port" || die "the private Redis in $directory did not answer within 60 s"
}

# Kills Redis as a crash would.
kill_redis() { kill_private "$WORK/redis.pid"; }

# Kills a process of this script, which then is gone.
kill_private() { # pid file
  local pid
  pid="$(<"$1")"
  disown "$pid" # else Bash reports the kill in the middle of the script's output
  kill -KILL "$pid"
  until_true 15 process_gone "$pid" || die "the process of $1 did not end within 15 s"
}

start_factory_service() { start_service factory-service "$FACTORY_URL"; }

# The scan service trusts local proxies, so that a client can send the addresses of many clients.
start_scan_service() { TRUSTED_PROXIES=127.0.0.0/8 start_service scan-service "$SCAN_URL"; }

start_service() { # name, URL
  BIND_ADDR="${2#http://}" "$BINARIES/$1" serve >>"$WORK/$1.log" 2>&1 </dev/null &
  echo $! >"$WORK/$1.pid"
}

wait_ready() { # URL
  until_true 60 answers_200 "$1/v1/ready" ||
    die "$1 was not ready within 60 s: $(curl -s -m 5 "$1/v1/ready" || true)"
}
