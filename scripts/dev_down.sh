#!/usr/bin/env bash
# Stops what dev_up.sh started.
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source-path=SCRIPTDIR source=dev_lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/dev_lib.sh"

usage() {
  cat <<'HELP'
Usage: ./scripts/dev_down.sh [--wipe]

Stops both services and the Redis that dev_up.sh started. The data and the secrets stay, so that the next dev_up.sh goes on with them.

  --wipe   also remove the data, the secrets and the logs (.dev/, and the Docker volume if there is one): tags minted so far are worthless then
  --help   this text
HELP
}

WIPE=no
case "${1:-}" in
  '') ;;
  --wipe) WIPE=yes ;;
  -h | --help) usage && exit 0 ;;
  *) usage >&2 && die "unknown argument: $1" ;;
esac

if [[ ! -d "$DEV_DIR" ]]; then
  say "Summary: nothing to stop, .dev/ is not there"
  exit 0
fi
take_dev_lock
trap release_dev_lock EXIT

for service in scan-service factory-service; do
  if runs "$DEV_DIR/$service.pid" "$service"; then
    say "stopping $service"
  else
    say "$service does not run"
  fi
  stop_process "$DEV_DIR/$service.pid" "$service"
done

if redis_is_up; then say "stopping Redis"; else say "Redis does not run"; fi
stop_redis

if [[ "$WIPE" == yes ]]; then
  if [[ "$(cat "$REDIS_KIND" 2>/dev/null || true)" == compose ]] && find_compose; then
    compose down --volumes
  fi
  rm -rf "$DEV_DIR"
  say "Summary: everything stopped, data, secrets and logs removed"
else
  say "Summary: everything stopped; data, secrets and logs are kept in .dev/ (--wipe removes them)"
fi
