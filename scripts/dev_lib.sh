# shellcheck shell=bash disable=SC2034  # what is set here is read by the scripts that source it
# What dev_up.sh and dev_down.sh share: where things lie in .dev/, the lock, and the Redis of development. Sourced after lib.sh.

LOG_DIR="$DEV_DIR/log"
ENV_FILE="$DEV_DIR/env"
REDIS_KIND="$DEV_DIR/redis.kind" # holds `compose` or `server`
COMPOSE=()

# One run at a time; a lock whose owner has died is taken over.
take_dev_lock() {
  local owner
  if mkdir "$DEV_DIR/lock" 2>/dev/null; then
    echo $$ >"$DEV_DIR/lock/pid"
    return 0
  fi
  owner="$(cat "$DEV_DIR/lock/pid" 2>/dev/null || true)"
  if [[ -n "$owner" ]] && kill -0 "$owner" 2>/dev/null; then
    die "another dev_up.sh or dev_down.sh runs (process $owner)"
  fi
  echo $$ >"$DEV_DIR/lock/pid"
}

release_dev_lock() { rm -rf "$DEV_DIR/lock"; }

# Exports what .dev/env holds.
load_env_file() {
  local line
  while IFS= read -r line; do
    if [[ "$line" == [A-Z]*=* ]]; then export "${line?}"; fi
  done <"$ENV_FILE"
}

# Sets COMPOSE to a Compose whose engine answers.
find_compose() {
  have docker && docker info >/dev/null 2>&1 || return 1
  if docker compose version >/dev/null 2>&1; then
    COMPOSE=(docker compose)
  elif have docker-compose; then
    COMPOSE=(docker-compose)
  else
    return 1
  fi
}

compose() { "${COMPOSE[@]}" --project-name voketag-dev "$@"; }

redis_is_up() {
  [[ -s "$REDIS_KIND" && -s "$DEV_DIR/redis.port" ]] || return 1
  if [[ "$(<"$REDIS_KIND")" == compose ]]; then
    find_compose && [[ -n "$(compose ps -q redis 2>/dev/null)" ]] && redis_answers "$(<"$DEV_DIR/redis.port")"
  else
    runs "$DEV_DIR/redis.pid" -server && redis_answers "$(<"$DEV_DIR/redis.port")"
  fi
}

stop_redis() {
  [[ -s "$REDIS_KIND" ]] || return 0
  if [[ "$(<"$REDIS_KIND")" == compose ]]; then
    find_compose || {
      warn "Redis ran in Docker, and no engine answers now"
      return 0
    }
    compose stop redis
  else
    stop_process "$DEV_DIR/redis.pid" -server
  fi
}
