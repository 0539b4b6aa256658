#!/usr/bin/env bash
# Stops what dev_up.sh and monitor_up.sh started.
# shellcheck source-path=SCRIPTDIR source=lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
# shellcheck source-path=SCRIPTDIR source=lib/dev.sh
source scripts/lib/dev.sh
# shellcheck source-path=SCRIPTDIR source=lib/monitoring.sh
source scripts/lib/monitoring.sh

usage() {
  cat <<'HELP'
Usage: ./scripts/dev_down.sh [--wipe]

Stops both services and the Redis that dev_up.sh started, and Prometheus, Alertmanager and the receiver of
traces if monitor_up.sh started them. Data and secrets stay, and the next dev_up.sh uses them again.

  --wipe   also delete the data, the secrets and the logs (.dev/, and the Docker volume if there is one).
           Tags minted so far become worthless
  --help   show this text
HELP
}

WIPE=no
if [[ "${1:-}" == --wipe ]]; then
  WIPE=yes
  shift
fi
no_arguments "$@"

if [[ ! -d "$DEV_DIR" ]]; then
  say "Summary: nothing to stop, .dev/ does not exist"
  exit 0
fi
take_dev_lock
trap release_dev_lock EXIT

MONITOR_DIR="$DEV_DIR/monitor"
if runs "$MONITOR_DIR/prometheus.pid" prometheus; then say "stopping what monitor_up.sh started"; fi
stop_monitoring
for service in scan-service factory-service; do
  if runs "$DEV_DIR/$service.pid" "$service"; then
    say "stopping $service"
  else
    say "$service is not running"
  fi
  stop_process "$DEV_DIR/$service.pid" "$service"
done

if redis_is_up; then say "stopping Redis"; else say "Redis is not running"; fi
stop_redis

if [[ "$WIPE" == yes ]]; then
  if uses_compose && find_compose; then compose down --volumes; fi
  rm -rf "$DEV_DIR"
  say "Summary: everything is stopped; data, secrets and logs are deleted"
else
  say "Summary: everything is stopped; data, secrets and logs stay in .dev/ (--wipe deletes them)"
fi
