# shellcheck shell=bash disable=SC2034  # the scripts that source this file read what it sets
# What dev_up.sh and dev_down.sh share: the files in .dev/, the lock, and the development Redis. Source it
# after common.sh.

LOG_DIR="$DEV_DIR/log"
ENV_FILE="$DEV_DIR/env"
AUTH_FILE="$DEV_DIR/auth.header"
REDIS_KIND="$DEV_DIR/redis.kind" # holds `compose` or `server`
COMPOSE=()

# Allows one run at a time. A lock whose owner is dead is taken over.
take_dev_lock() {
  local owner
  if mkdir "$DEV_DIR/lock" 2>/dev/null; then
    echo $$ >"$DEV_DIR/lock/pid"
    return 0
  fi
  owner="$(cat "$DEV_DIR/lock/pid" 2>/dev/null || true)"
  if [[ -n "$owner" ]] && kill -0 "$owner" 2>/dev/null; then
    die "another dev_up.sh or dev_down.sh is running (process $owner)"
  fi
  echo $$ >"$DEV_DIR/lock/pid"
}

release_dev_lock() { rm -rf "$DEV_DIR/lock"; }

# Exports the variables of .dev/env.
load_env_file() {
  local line
  while IFS= read -r line; do
    if [[ "$line" == [A-Z]*=* ]]; then export "${line?}"; fi
  done <"$ENV_FILE"
}

# Sets COMPOSE to a Compose command whose engine answers.
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

uses_compose() { [[ -s "$REDIS_KIND" && "$(<"$REDIS_KIND")" == compose ]]; }

redis_is_up() {
  [[ -s "$REDIS_KIND" && -s "$DEV_DIR/redis.port" ]] || return 1
  if uses_compose; then
    find_compose && [[ -n "$(compose ps -q redis 2>/dev/null)" ]] && redis_answers "$(<"$DEV_DIR/redis.port")"
  else
    runs "$DEV_DIR/redis.pid" -server && redis_answers "$(<"$DEV_DIR/redis.port")"
  fi
}

stop_redis() {
  [[ -s "$REDIS_KIND" ]] || return 0
  if uses_compose; then
    find_compose || {
      warn "Redis was started in Docker, and the Docker engine does not answer"
      return 0
    }
    compose stop redis
  else
    stop_process "$DEV_DIR/redis.pid" -server
  fi
}
