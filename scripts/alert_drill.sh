#!/usr/bin/env bash
# Causes real faults, and checks that each one raises its alert and no other.
# shellcheck source-path=SCRIPTDIR source=lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
# shellcheck source-path=SCRIPTDIR source=lib/private_stack.sh
source scripts/lib/private_stack.sh
# shellcheck source-path=SCRIPTDIR source=lib/monitoring.sh
source scripts/lib/monitoring.sh
# shellcheck source-path=SCRIPTDIR source=lib/alert_drill.sh
source scripts/lib/alert_drill.sh
# shellcheck source-path=SCRIPTDIR source=lib/alert_faults.sh
source scripts/lib/alert_faults.sh

usage() {
  cat <<'HELP'
Usage: ./scripts/alert_drill.sh [--release] [FAULT...]

Starts three private Redis servers, both services under light load, Prometheus and Alertmanager with the rules
of services/monitoring and shortened windows. Causes one fault after the other, waits until Alertmanager shows
the right alert as active and nothing else (alerts that it inhibits are listed), mends the fault, and waits
until every alert is resolved. Prints a table. Takes about 8 minutes.

  FAULT        a name of the table, e.g. redis-killed (default: all)
  --release    use and build optimised binaries (default: debug build)
  --help       show this text
HELP
}

PROFILE=debug
CHOSEN=()
while (($# > 0)); do
  case "$1" in
    --release) PROFILE=release ;;
    -h | --help) usage && exit 0 ;;
    -*) usage >&2 && die "unknown argument: $1" ;;
    *)
      fault_line "$1" >/dev/null || die "unknown fault: $1. The faults are: $(fault_names)"
      CHOSEN+=("$1")
      ;;
  esac
  shift
done
if ((${#CHOSEN[@]} == 0)); then read -ra CHOSEN <<<"$(fault_names)"; fi

need_rust
need_curl
need_monitoring_tools
build_services "$PROFILE"

step "Starting the services, Prometheus and Alertmanager"
start_drill_stack
say "three Redis servers, scan-service $SCAN_URL, factory-service $FACTORY_URL"
say "Prometheus $PROMETHEUS_URL, Alertmanager $ALERTMANAGER_URL"
until_true 90 no_alerts || die "alerts are active before the first fault: $(all_alerts)"

FAILED=0
for name in "${CHOSEN[@]}"; do
  step "$name"
  IFS='|' read -r _ alert label _ <<<"$(fault_line "$name")"
  run_fault "$name" "$alert" "$label"
done

step "Summary of alert_drill.sh: ${#CHOSEN[@]} faults in $SECONDS s"
print_drill_table
((FAILED == 0)) || die "$FAILED faults did not raise their alert, raised another, or did not resolve"
