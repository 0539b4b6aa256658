#!/usr/bin/env bash
# Starts Prometheus and Alertmanager for the services that dev_up.sh started, without containers.
# shellcheck source-path=SCRIPTDIR source=lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
# shellcheck source-path=SCRIPTDIR source=lib/dev.sh
source scripts/lib/dev.sh
# shellcheck source-path=SCRIPTDIR source=lib/monitoring.sh
source scripts/lib/monitoring.sh

usage() {
  cat <<'HELP'
Usage: ./scripts/monitor_up.sh [--webhook URL]

Starts Prometheus and Alertmanager with the configuration of services/monitoring, for the services that
./scripts/dev_up.sh started. Installs both as packages if they are missing. Waits until Prometheus scrapes
both services. You can run it again at any time: it restarts both with the present configuration and keeps
the data.

  --webhook URL   send notifications to URL/page and URL/ticket (default: none; Alertmanager shows the alerts)
  --help          show this text

Ports: 9090 and 9093, or the next free ones. All files are in .dev/monitor/. ./scripts/dev_down.sh stops both.
HELP
}

WEBHOOK=''
while (($# > 0)); do
  case "$1" in
    --webhook)
      WEBHOOK="${2:-}"
      [[ "$WEBHOOK" == http*://* ]] ||
        die "--webhook takes an http URL, e.g. http://127.0.0.1:9099, not '$WEBHOOK'"
      shift
      ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && die "unknown argument: $1" ;;
  esac
  shift
done

for service in scan-service factory-service; do
  runs "$DEV_DIR/$service.pid" "$service" || die "$service is not running: ./scripts/dev_up.sh starts it"
done
SCAN_URL="http://127.0.0.1:$(<"$DEV_DIR/scan-service.port")"
FACTORY_URL="http://127.0.0.1:$(<"$DEV_DIR/factory-service.port")"
MONITOR_DIR="$DEV_DIR/monitor"

need_curl
need_monitoring_tools
take_dev_lock
on_exit() {
  local status=$?
  if ((status != 0)); then stop_monitoring; fi
  release_dev_lock
}
trap on_exit EXIT
trap 'exit 130' INT TERM

mkdir -p "$MONITOR_DIR"
stop_monitoring
choose_monitoring_ports 9090 9093
write_monitoring_config "${WEBHOOK%/}"
step "Alertmanager"
start_alertmanager
step "Prometheus"
start_prometheus
until_true 60 has_targets 2 || die "Prometheus does not scrape both services: see $PROMETHEUS_URL/targets"
say "Prometheus scrapes both services"

step "Summary: up in $SECONDS s"
say "Prometheus $PROMETHEUS_URL (rules and alerts: $PROMETHEUS_URL/alerts)"
say "Alertmanager $ALERTMANAGER_URL"
say "logs in $MONITOR_DIR"
