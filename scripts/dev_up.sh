#!/usr/bin/env bash
# Starts Redis and both services for development, mints a demo batch and scans one of its tags.
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source-path=SCRIPTDIR source=dev_lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/dev_lib.sh"

usage() {
  cat <<'HELP'
Usage: ./scripts/dev_up.sh [--release] [--no-demo] [--secrets-only]

Gets a Redis (from Docker if an engine runs here and has the image or can pull it, else a redis-server of its own, whose package
is installed if it is missing), makes development secrets once, builds and starts both services, waits until they are ready, mints a
demo batch and scans one of its tags. Safe to run twice: what runs is kept, unless a service was built anew.

  --release        build and run the optimised binaries (slower to build; the default is the debug build)
  --no-demo        mint and scan nothing
  --secrets-only   make .dev/env and stop, e.g. for Compose (see docker-compose.yml)
  --help           this text

Ports: 6379, 8080 and 8081, or the next ones that nobody listens on; REDIS_PORT, SCAN_PORT and FACTORY_PORT choose others.
Settings of the services (RATE_LIMIT_IP_PER_MINUTE, LOG_FORMAT, RUST_LOG …) are passed on from the environment; a service that runs with
others is restarted. Secrets come from .dev/env alone, and METRICS_BIND_ADDR is left out: both would listen there.
Everything made lies in .dev/, which git ignores. ./scripts/dev_down.sh stops it all.
HELP
}

PROFILE=debug
DEMO=yes
SECRETS_ONLY=no
while (($# > 0)); do
  case "$1" in
    --release) PROFILE=release ;;
    --no-demo) DEMO=no ;;
    --secrets-only) SECRETS_ONLY=yes ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && die "unknown argument: $1" ;;
  esac
  shift
done

# What this run started; on failure it is stopped again, and only it.
STARTED_REDIS=''
STARTED_SERVICES=()

on_exit() {
  local status=$? service
  if ((status != 0)); then
    for service in "${STARTED_SERVICES[@]}"; do
      stop_process "$DEV_DIR/$service.pid" "$service"
    done
    if [[ -n "$STARTED_REDIS" ]]; then stop_redis; fi
    warn "dev_up.sh failed; what it had started is stopped again. Logs: $LOG_DIR"
  fi
  release_dev_lock
}

# ---- secrets ----

make_secrets() {
  (umask 077 && : >>"$ENV_FILE")
  chmod 600 "$ENV_FILE"
  [[ -s "$ENV_FILE" ]] ||
    printf '# Made by scripts/dev_up.sh, for this machine alone. Tags minted with this secret die with it.\n' >"$ENV_FILE"
  MADE=()
  make_secret TAG_MASTER_SECRET "$(random_hex 32)"
  make_secret FACTORY_API_KEY "dev_$(random_hex 24)"
  make_secret AUDIT_SIGNING_KEY "$(random_hex 32)"
  if ((${#MADE[@]} == 0)); then say "secrets: those in .dev/env"; else say "secrets: made in .dev/env: ${MADE[*]}"; fi
}

# What is there stays, whatever else is missing: tags may have been minted with it.
make_secret() { # name, value
  grep -qE "^$1(_FILE|_[0-9]+|_[0-9]+_FILE)?=." "$ENV_FILE" && return 0
  printf '%s=%s\n' "$1" "$2" >>"$ENV_FILE"
  MADE+=("$1")
}

# ---- Redis ----

# The kind stays what it was, since the data lies with it.
choose_redis() {
  if [[ -s "$REDIS_KIND" ]]; then
    if [[ "$(<"$REDIS_KIND")" == compose ]] && ! find_compose; then
      die "the data of the last run lies in a Docker volume, and no engine answers: start Docker, or begin anew with ./scripts/dev_down.sh --wipe"
    fi
    return 0
  fi
  if find_compose && image_at_hand; then
    echo compose >"$REDIS_KIND"
  else
    need_redis_server
    echo server >"$REDIS_KIND"
  fi
}

image_at_hand() {
  local image
  image="$(sed -n 's/^ *image: *\(redis:.*\)$/\1/p' docker-compose.yml | head -n 1)"
  docker image inspect "$image" >/dev/null 2>&1 && return 0
  say "a Docker engine answers; pulling $image"
  with_deadline 180 docker pull -q "$image" >/dev/null 2>&1 || {
    say "the image cannot be pulled from here: going on without Docker"
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
  if [[ "$REDIS_PORT" != "$wanted" ]]; then say "port $wanted is taken by something that is not ours: Redis gets $REDIS_PORT"; fi
  export REDIS_PORT
  echo "$REDIS_PORT" >"$DEV_DIR/redis.port"
}

start_redis() {
  choose_redis
  if redis_is_up; then
    REDIS_PORT="$(<"$DEV_DIR/redis.port")"
    say "Redis: runs already on 127.0.0.1:$REDIS_PORT ($(<"$REDIS_KIND"))"
    return 0
  fi
  if [[ "$(<"$REDIS_KIND")" == server ]]; then need_redis_server; fi
  pick_redis_port
  STARTED_REDIS=yes
  if [[ "$(<"$REDIS_KIND")" == compose ]]; then
    compose up -d redis
  else
    (
      cd "$DEV_DIR/redis"
      # The protocol is the same; what was given on the command line is what matters, so no file is read.
      exec nohup "$REDIS_SERVER" --port "$REDIS_PORT" --bind 127.0.0.1 --dir . --appendonly yes --appendfsync always \
        --maxmemory-policy noeviction --save '' >>"$LOG_DIR/redis.log" 2>&1 </dev/null
    ) &
    echo $! >"$DEV_DIR/redis.pid"
  fi
  if ! until_true 30 redis_answers "$REDIS_PORT"; then
    if [[ "$(<"$REDIS_KIND")" == compose ]]; then compose logs --tail=15 redis >"$LOG_DIR/redis.log" 2>&1 || true; fi
    die "Redis did not answer within 30 s: see $LOG_DIR/redis.log"
  fi
  say "Redis: started on 127.0.0.1:$REDIS_PORT ($(<"$REDIS_KIND"); append-only file, fsync always)"
}

# ---- services ----

build_services() {
  local flags=()
  if [[ "$PROFILE" == release ]]; then flags=(--release); fi
  need_rust
  say "building both services ($PROFILE)"
  cargo build --locked "${flags[@]}" --bin scan-service --bin factory-service
}

# Settles on which ports both listen, before either starts: the factory prints addresses of the scan page.
settle_ports() {
  local scan factory
  scan="$(settled_port scan-service "${SCAN_PORT:-}" 8080)"
  factory="$(settled_port factory-service "${FACTORY_PORT:-}" 8081)"
  if [[ "$scan" == "$factory" ]]; then factory="$(free_port "$((scan + 1))")"; fi
  say "ports: scan-service $scan, factory-service $factory"
  echo "$scan" >"$DEV_DIR/scan-service.port"
  echo "$factory" >"$DEV_DIR/factory-service.port"
}

# Where it listens, or the first free port from the one asked for, used last time, or usual.
settled_port() { # service, port asked for or nothing, usual port
  local last="" wanted
  if [[ -s "$DEV_DIR/$1.port" ]]; then last="$(<"$DEV_DIR/$1.port")"; fi
  if [[ -n "$last" && "${2:-$last}" == "$last" ]] && runs "$DEV_DIR/$1.pid" "$1"; then
    printf '%s' "$last"
    return 0
  fi
  wanted="${2:-${last:-$3}}"
  free_port "$wanted"
}

binary_stamp() { cksum <"$TARGET_DIR/$PROFILE/$1"; }

# The settings of the services in the environment.
settings_stamp() {
  env | sed -n -E '/^(AUDIT_|COLD_START_|DEPLOYMENT_INIT|GLOBAL_REDIS_|IDEMPOTENCY_|LOG_FORMAT|RATE_LIMIT_|REDIS_POOL_|REDIS_COMMAND_|REGION|REPORT_CORS_|RUST_LOG|TAG_KEY_|TRUSTED_PROXIES)/p' |
    sort | cksum
}

start_service() { # name
  local name="$1" port scan_port stamp
  port="$(<"$DEV_DIR/$name.port")"
  scan_port="$(<"$DEV_DIR/scan-service.port")"
  stamp="$(binary_stamp "$name") $port $scan_port $REDIS_PORT $(cksum <"$ENV_FILE") $(settings_stamp)"
  if runs "$DEV_DIR/$name.pid" "$name"; then
    if [[ "$(cat "$DEV_DIR/$name.stamp" 2>/dev/null || true)" == "$stamp" ]]; then
      say "$name: runs already on 127.0.0.1:$port"
      return 0
    fi
    say "$name: runs, but was built anew, or has other settings: restarting it"
    stop_process "$DEV_DIR/$name.pid" "$name"
  fi
  STARTED_SERVICES+=("$name")
  (
    load_env_file
    export BIND_ADDR="127.0.0.1:$port" REDIS_URL="redis://127.0.0.1:$REDIS_PORT" PUBLIC_BASE_URL="http://127.0.0.1:$scan_port"
    # Outside Redis, so that an older copy of its data is noticed; ./scripts/dev_down.sh --wipe removes both.
    export STATE_DIR="$DEV_DIR/state"
    exec nohup "$TARGET_DIR/$PROFILE/$name" serve >>"$LOG_DIR/$name.log" 2>&1 </dev/null
  ) &
  echo $! >"$DEV_DIR/$name.pid"
  echo "$stamp" >"$DEV_DIR/$name.stamp"
}

ready_or_dead() { # name, url
  answers_200 "$2" || ! runs "$DEV_DIR/$1.pid" "$1"
}

wait_ready() { # name
  local url
  url="http://127.0.0.1:$(<"$DEV_DIR/$1.port")/v1/ready"
  until_true 60 ready_or_dead "$1" "$url" || true
  if ! answers_200 "$url"; then
    warn "the last lines of $LOG_DIR/$1.log:"
    tail -n 15 "$LOG_DIR/$1.log" >&2 || true
    curl -s -m 5 "$url" >&2 || true
    runs "$DEV_DIR/$1.pid" "$1" || die "$1 has ended"
    die "$1 is not ready after 60 s (if its data was lost on purpose, begin anew: ./scripts/dev_down.sh --wipe)"
  fi
  say "$1: ready on ${url%/v1/ready}"
}

# ---- demo ----

factory() { # method, path, [json]
  local method="$1" path="$2" body="${3:-}" data=()
  if [[ -n "$body" ]]; then data=(-H 'content-type: application/json' --data "$body"); fi
  # The key goes in by a file, so that no process list shows it.
  curl -sS -m 30 --fail-with-body -X "$method" -H "@$DEV_DIR/auth.header" "${data[@]}" "$FACTORY_URL$path"
}

make_demo() {
  local product batch answer
  if [[ -s "$DEV_DIR/demo" ]]; then
    # shellcheck source=/dev/null
    source "$DEV_DIR/demo"
    if factory GET "/v1/batches/$DEMO_BATCH" >/dev/null 2>&1; then
      say "demo: the batch of the last run, $DEMO_BATCH"
      return 0
    fi
  fi
  answer="$(factory POST /v1/products '{"name":"Demo jacket","brand":"VokeTag","gtin":"4006381333931"}')" || die "the demo product was refused: $answer"
  product="$(json_string id <<<"$answer")"
  answer="$(factory POST /v1/batches "{\"product_id\":\"$product\",\"size\":1000,\"label\":\"demo\"}")" || die "the demo batch was refused: $answer"
  batch="$(json_string id <<<"$answer")"
  answer="$(factory GET "/v1/batches/$batch/tags?format=ndjson&limit=2")" || die "the demo tags were refused: $answer"
  {
    printf 'DEMO_PRODUCT=%q\nDEMO_BATCH=%q\n' "$product" "$batch"
    printf 'DEMO_TAG=%q\n' "$(sed -n 1p <<<"$answer" | json_string tag_id)"
    printf 'DEMO_TAG_2=%q\n' "$(sed -n 2p <<<"$answer" | json_string tag_id)"
  } >"$DEV_DIR/demo"
  # shellcheck source=/dev/null
  source "$DEV_DIR/demo"
  say "demo: minted a batch of 1,000 tags, $DEMO_BATCH"
}

show_demo() {
  local answer page
  # Asked anew each time: the port may be another than on the last run.
  page="$(factory GET "/v1/tags/$DEMO_TAG" | json_string url)"
  answer="$(curl -sS -m 10 --fail-with-body "$SCAN_URL/v1/scan/$DEMO_TAG")" || die "the scan was refused: $answer"
  step "GET $SCAN_URL/v1/scan/$DEMO_TAG"
  if have jq; then jq . <<<"$answer"; else say "$answer"; fi
  cat <<NEXT

The page a phone opens:   $page
The API, to try by hand:  $SCAN_URL/docs and $FACTORY_URL/docs
Logs:                     ${LOG_DIR#"$ROOT"/}/

What to try next (paste it; the first line brings the key into your shell):

  cd "$ROOT" && set -a && . .dev/env && set +a

  # scan it again: the count goes up
  curl -s $SCAN_URL/v1/scan/$DEMO_TAG

  # the tags of the batch, as they go to the printer
  curl -s -H "Authorization: Bearer \$FACTORY_API_KEY" "$FACTORY_URL/v1/batches/$DEMO_BATCH/tags?format=csv&limit=5"

  # revoke the second tag: the very next scan sees it
  curl -s -X POST -H "Authorization: Bearer \$FACTORY_API_KEY" -H 'Content-Type: application/json' -d '{"reason":"lost in transit"}' $FACTORY_URL/v1/tags/$DEMO_TAG_2/revoke
  curl -s $SCAN_URL/v1/scan/$DEMO_TAG_2

  # prove that nobody touched the audit trail
  curl -s -X POST -H "Authorization: Bearer \$FACTORY_API_KEY" $FACTORY_URL/v1/audit/verify

  # the signed checkpoint: where the chain stands, to be kept elsewhere
  curl -s -H "Authorization: Bearer \$FACTORY_API_KEY" $FACTORY_URL/v1/audit/checkpoint

  # a tenant with a key of its own (the command line works without the network, on the same Redis)
  REDIS_URL=redis://127.0.0.1:$REDIS_PORT "$TARGET_DIR/$PROFILE/factory-service" tenant create acme
  REDIS_URL=redis://127.0.0.1:$REDIS_PORT "$TARGET_DIR/$PROFILE/factory-service" key create --tenant acme --scope factory:write,factory:read

  # 80 and 150 clients at once, against services of its own
  ./scripts/load_test_local.sh

Stop it all:              ./scripts/dev_down.sh            (--wipe: and forget the data and the secrets)
NEXT
}

# ---- main ----

mkdir -p "$DEV_DIR/redis" "$LOG_DIR"
chmod 700 "$DEV_DIR"
take_dev_lock
trap on_exit EXIT
trap 'exit 130' INT TERM

# From here on the file alone says which secrets there are.
unset "${!TAG_MASTER_SECRET@}" "${!FACTORY_API_KEY@}" "${!AUDIT_SIGNING_KEY@}" METRICS_BIND_ADDR

step "Secrets"
make_secrets
if [[ "$SECRETS_ONLY" == yes ]]; then
  step "Summary: the secrets are in .dev/env; nothing was started"
  exit 0
fi
need_curl

step "Redis"
start_redis

step "Services"
build_services
settle_ports
start_service factory-service
wait_ready factory-service
start_service scan-service
wait_ready scan-service
SCAN_URL="http://127.0.0.1:$(<"$DEV_DIR/scan-service.port")"
FACTORY_URL="http://127.0.0.1:$(<"$DEV_DIR/factory-service.port")"

if [[ "$DEMO" == yes ]]; then
  step "Demo"
  (umask 077 && load_env_file && printf 'Authorization: Bearer %s\n' "$FACTORY_API_KEY" >"$DEV_DIR/auth.header")
  make_demo
  show_demo
fi

step "Summary: up in $SECONDS s"
say "scan-service $SCAN_URL, factory-service $FACTORY_URL, Redis 127.0.0.1:$REDIS_PORT ($(<"$REDIS_KIND")), logs in $LOG_DIR"
