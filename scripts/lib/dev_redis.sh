# shellcheck shell=bash disable=SC2034  # dev_up.sh reads what this file sets
# Starts the development Redis for dev_up.sh: in Docker, or as a local redis-server.

# Sets REDIS_PORT.
start_redis() {
  choose_redis
  if redis_is_up; then
    REDIS_PORT="$(<"$DEV_DIR/redis.port")"
    say "Redis: already running on 127.0.0.1:$REDIS_PORT ($(<"$REDIS_KIND"))"
    return 0
  fi
  if ! uses_compose; then need_redis_server; fi
  pick_redis_port
  STARTED_REDIS=yes
  if uses_compose; then compose up -d redis; else run_redis_server; fi
  if ! until_true 30 redis_answers "$REDIS_PORT"; then
    if uses_compose; then compose logs --tail=15 redis >"$LOG_DIR/redis.log" 2>&1 || true; fi
    die "Redis did not answer within 30 s: see $LOG_DIR/redis.log"
  fi
  say "Redis: started on 127.0.0.1:$REDIS_PORT ($(<"$REDIS_KIND"); append-only file, fsync always)"
}

# A later run keeps the kind of the first, because the data is there.
choose_redis() {
  if [[ -s "$REDIS_KIND" ]]; then
    if uses_compose && ! find_compose; then
      die "the data of the last run is in a Docker volume, and the Docker engine does not answer: start" \
        "Docker, or delete the data with ./scripts/dev_down.sh --wipe"
    fi
    return 0
  fi
  if find_compose && image_available; then
    echo compose >"$REDIS_KIND"
  else
    need_redis_server
    echo server >"$REDIS_KIND"
  fi
}

image_available() {
  local image
  image="$(sed -n 's/^ *image: *\(redis:.*\)$/\1/p' docker-compose.yml | head -n 1)"
  docker image inspect "$image" >/dev/null 2>&1 && return 0
  say "a Docker engine answers; pulling $image"
  with_deadline 180 docker pull -q "$image" >/dev/null 2>&1 || {
    say "the image cannot be pulled: continuing without Docker"
    return 1
  }
}

with_deadline() { # seconds, command...
  if have timeout; then timeout "$@"; else "${@:2}"; fi
}

pick_redis_port() {
  local wanted="${REDIS_PORT:-}"
  [[ -n "$wanted" || ! -s "$DEV_DIR/redis.port" ]] || wanted="$(<"$DEV_DIR/redis.port")"
  wanted="${wanted:-6379}"
  REDIS_PORT="$(free_port "$wanted")"
  if [[ "$REDIS_PORT" != "$wanted" ]]; then
    say "port $wanted is used by another program: Redis gets port $REDIS_PORT"
  fi
  export REDIS_PORT
  echo "$REDIS_PORT" >"$DEV_DIR/redis.port"
}

run_redis_server() {
  (
    cd "$DEV_DIR/redis" || exit
    exec nohup "$REDIS_SERVER" --port "$REDIS_PORT" --bind 127.0.0.1 --dir . --appendonly yes \
      --appendfsync always --maxmemory-policy noeviction --save '' >>"$LOG_DIR/redis.log" 2>&1 </dev/null
  ) &
  echo $! >"$DEV_DIR/redis.pid"
}
