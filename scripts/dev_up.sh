#!/usr/bin/env bash
# Starts Redis and both services for development, mints a demo batch and scans one of its tags.
# shellcheck source-path=SCRIPTDIR source=lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
# shellcheck source-path=SCRIPTDIR source=lib/dev.sh
source scripts/lib/dev.sh
# shellcheck source-path=SCRIPTDIR source=lib/dev_redis.sh
source scripts/lib/dev_redis.sh
# shellcheck source-path=SCRIPTDIR source=lib/dev_services.sh
source scripts/lib/dev_services.sh
# shellcheck source-path=SCRIPTDIR source=lib/dev_demo.sh
source scripts/lib/dev_demo.sh

usage() {
  cat <<'HELP'
Usage: ./scripts/dev_up.sh [--release] [--no-demo] [--secrets-only]

Starts Redis, builds and starts both services, waits until they are ready, mints a demo batch and scans one of
its tags. Redis runs in Docker if an engine answers and has the image or can pull it, else as a local
redis-server; its package is installed if it is missing. The first run creates development secrets.
You can run it again at any time: it keeps what runs, and restarts a service whose binary or settings changed.

  --release        build and run optimised binaries; the build takes longer (default: debug build)
  --no-demo        do not mint or scan
  --secrets-only   create the secrets in .dev/env and stop, e.g. for Compose (see docker-compose.yml)
  --help           show this text

Ports: 6379, 8080 and 8081, or the next free ones. REDIS_PORT, SCAN_PORT and FACTORY_PORT select others.
The services get the settings of the environment (RATE_LIMIT_IP_PER_MINUTE, LOG_FORMAT, RUST_LOG …), except
secrets, which come only from .dev/env, and METRICS_BIND_ADDR, on which both services would listen.
All files are in .dev/, which git ignores. ./scripts/dev_down.sh stops everything.
HELP
}

PROFILE=debug
DEMO=yes
SECRETS_ONLY=no
for argument in "$@"; do
  case "$argument" in
    --release) PROFILE=release ;;
    --no-demo) DEMO=no ;;
    --secrets-only) SECRETS_ONLY=yes ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && die "unknown argument: $argument" ;;
  esac
done
BINARIES="$TARGET_DIR/$PROFILE"

# What this run started. If the run fails, it stops these and nothing else.
STARTED_REDIS=''
STARTED_SERVICES=()

on_exit() {
  local status=$? service
  if ((status != 0)); then
    for service in "${STARTED_SERVICES[@]}"; do
      stop_process "$DEV_DIR/$service.pid" "$service"
    done
    if [[ -n "$STARTED_REDIS" ]]; then stop_redis; fi
    warn "dev_up.sh failed and stopped what it had started. Logs: $LOG_DIR"
  fi
  release_dev_lock
}

make_secrets() {
  (umask 077 && : >>"$ENV_FILE")
  chmod 600 "$ENV_FILE"
  [[ -s "$ENV_FILE" ]] ||
    printf '# Created by scripts/dev_up.sh for this machine. Tags depend on these secrets.\n' >"$ENV_FILE"
  CREATED=()
  make_secret TAG_MASTER_SECRET "$(random_hex 32)"
  make_secret FACTORY_API_KEY "dev_$(random_hex 24)"
  make_secret AUDIT_SIGNING_KEY "$(random_hex 32)"
  if ((${#CREATED[@]} == 0)); then
    say "secrets: using those of .dev/env"
  else
    say "secrets: created in .dev/env: ${CREATED[*]}"
  fi
}

# Keeps a secret that exists, because tags may have been minted with it.
make_secret() { # name, value
  grep -qE "^$1(_FILE|_[0-9]+|_[0-9]+_FILE)?=." "$ENV_FILE" && return 0
  printf '%s=%s\n' "$1" "$2" >>"$ENV_FILE"
  CREATED+=("$1")
}

mkdir -p "$DEV_DIR/redis" "$LOG_DIR"
chmod 700 "$DEV_DIR"
take_dev_lock
trap on_exit EXIT
trap 'exit 130' INT TERM

# The file is the only source of secrets.
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
need_rust
say "building both services ($PROFILE)"
build_services "$PROFILE"
choose_ports
start_service factory-service "$FACTORY_URL"
wait_ready factory-service "$FACTORY_URL"
start_service scan-service "$SCAN_URL"
wait_ready scan-service "$SCAN_URL"

if [[ "$DEMO" == yes ]]; then
  step "Demo"
  (umask 077 && load_env_file && printf 'Authorization: Bearer %s\n' "$FACTORY_API_KEY" >"$AUTH_FILE")
  make_demo
  show_demo
fi

step "Summary: up in $SECONDS s"
say "scan-service $SCAN_URL, factory-service $FACTORY_URL"
say "Redis 127.0.0.1:$REDIS_PORT ($(<"$REDIS_KIND")), logs in $LOG_DIR"
