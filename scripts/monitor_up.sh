#!/usr/bin/env bash
# Starts Prometheus, Alertmanager and a receiver of traces for the services of dev_up.sh, without containers.
# shellcheck source-path=SCRIPTDIR source=lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
# shellcheck source-path=SCRIPTDIR source=lib/dev.sh
source scripts/lib/dev.sh
# shellcheck source-path=SCRIPTDIR source=lib/monitoring.sh
source scripts/lib/monitoring.sh
# shellcheck source-path=SCRIPTDIR source=lib/dev_services.sh
source scripts/lib/dev_services.sh
# shellcheck source-path=SCRIPTDIR source=lib/python.sh
source scripts/lib/python.sh
# shellcheck source-path=SCRIPTDIR source=lib/traces.sh
source scripts/lib/traces.sh

usage() {
  cat <<'HELP'
Usage: ./scripts/monitor_up.sh [--webhook URL]

Starts Prometheus and Alertmanager with the configuration of services/monitoring, and a receiver of traces,
for the services that ./scripts/dev_up.sh started. Restarts those services so that they export traces.
Installs what is missing as packages. Waits until Prometheus scrapes both services, and until spans of both
arrive. You can run it again at any time: it restarts all with the present configuration and keeps the data.

  --webhook URL   send notifications to URL/page and URL/ticket (default: none; Alertmanager shows the alerts)
  --help          show this text

Ports: 9090, 9093 and 4318, or the next free ones. All files are in .dev/monitor/. ./scripts/dev_down.sh stops
all. The receiver only logs: docker-compose.yml has a store and a page for traces.
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
step "Traces"
start_receiver 4318
send_traces_to_receiver
for url in "$SCAN_URL" "$FACTORY_URL"; do
  until_true 30 exports_spans "$url" || die "no span of $url arrived: see $MONITOR_DIR/rotel.log"
done
say "spans of both services arrive"

step "Summary: up in $SECONDS s"
say "Prometheus $PROMETHEUS_URL (rules and alerts: $PROMETHEUS_URL/alerts)"
say "Alertmanager $ALERTMANAGER_URL"
say "traces go to $(<"$MONITOR_DIR/rotel.url")"
say "logs in $MONITOR_DIR"
