# shellcheck shell=bash
# Prometheus and Alertmanager without containers, with the configuration of services/monitoring. Source it
# after common.sh. The caller sets MONITOR_DIR, SCAN_URL and FACTORY_URL.

# Chooses the ports. Sets PROMETHEUS_URL and ALERTMANAGER_URL.
choose_monitoring_ports() { # first port for Prometheus, first port for Alertmanager
  PROMETHEUS_URL="http://127.0.0.1:$(free_port "$1")"
  ALERTMANAGER_URL="http://127.0.0.1:$(free_port "$2")"
}

# Copies the configuration to MONITOR_DIR with the addresses of this machine. Without a receiver, Alertmanager
# shows alerts and notifies nobody.
write_monitoring_config() { # [URL of a webhook that receives alerts]
  mkdir -p "$MONITOR_DIR/rules" "$MONITOR_DIR/prometheus" "$MONITOR_DIR/alertmanager"
  cp services/monitoring/rules/*.yml "$MONITOR_DIR/rules/"
  sed -e "s#scan-service:9100#${SCAN_URL#http://}#" -e "s#factory-service:9100#${FACTORY_URL#http://}#" \
    -e "s#alertmanager:9093#${ALERTMANAGER_URL#http://}#" \
    -e "s#runbooks: .*#runbooks: $ROOT/docs/operations#" \
    services/monitoring/prometheus.yml >"$MONITOR_DIR/prometheus.yml"
  if [[ -n "${1:-}" ]]; then
    sed "s#http://alert-receiver:9099#$1#" services/monitoring/alertmanager.yml
  else
    sed '/webhook_configs:/d; /alert-receiver/d' services/monitoring/alertmanager.yml
  fi >"$MONITOR_DIR/alertmanager.yml"
}

# Debian calls the program prometheus-alertmanager, others alertmanager.
alertmanager_program() { type -P prometheus-alertmanager || type -P alertmanager; }

start_prometheus() {
  (exec nohup prometheus --config.file="$MONITOR_DIR/prometheus.yml" \
    --storage.tsdb.path="$MONITOR_DIR/prometheus" --storage.tsdb.retention.time=15d \
    --web.listen-address="${PROMETHEUS_URL#http://}" --web.enable-lifecycle \
    --enable-feature=exemplar-storage \
    >>"$MONITOR_DIR/prometheus.log" 2>&1 </dev/null) &
  echo $! >"$MONITOR_DIR/prometheus.pid"
  wait_monitoring prometheus "$PROMETHEUS_URL"
}

start_alertmanager() {
  local program
  program="$(alertmanager_program)" ||
    die "Alertmanager is missing: install the package prometheus-alertmanager"
  # Without a cluster: it would open a second port and wait for peers.
  (exec nohup "$program" --config.file="$MONITOR_DIR/alertmanager.yml" \
    --storage.path="$MONITOR_DIR/alertmanager" --cluster.listen-address= \
    --web.listen-address="${ALERTMANAGER_URL#http://}" \
    >>"$MONITOR_DIR/alertmanager.log" 2>&1 </dev/null) &
  echo $! >"$MONITOR_DIR/alertmanager.pid"
  wait_monitoring alertmanager "$ALERTMANAGER_URL"
}

wait_monitoring() { # name, URL
  until_true 60 answers_200 "$2/-/ready" ||
    die "$1 is not ready after 60 s: $(tail -n 3 "$MONITOR_DIR/$1.log")"
}

stop_monitoring() {
  stop_process "$MONITOR_DIR/prometheus.pid" prometheus
  stop_process "$MONITOR_DIR/alertmanager.pid" alertmanager
  stop_process "$MONITOR_DIR/rotel.pid" rotel
}

# Prints the names of the firing alerts, one per line: of all, or with the state `active` or `suppressed`.
alerts_in() { # active or suppressed
  local inhibited=false
  if [[ "$1" == suppressed ]]; then inhibited=true; fi
  curl -sS -m 10 -G --data "active=$([[ "$1" == active ]] && echo true || echo false)" \
    --data "inhibited=$inhibited" --data "silenced=false" "$ALERTMANAGER_URL/api/v2/alerts" |
    { grep -oE '"alertname":"[^"]+"' || true; } | cut -d '"' -f 4 | LC_ALL=C sort
}

# Prints the number of targets that Prometheus scrapes with success.
targets_up() {
  curl -sS -m 10 "$PROMETHEUS_URL/api/v1/targets?state=active" |
    { grep -oE '"health":"up"' || true; } | wc -l
}

has_targets() { [[ "$(targets_up)" -eq "$1" ]]; } # number
