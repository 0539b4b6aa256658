# shellcheck shell=bash disable=SC2034  # dev_services.sh reads what this file sets
# A receiver of traces without containers, and its wiring to the services that dev_up.sh started. Source it
# after dev.sh, dev_services.sh, python.sh and monitoring.sh. The caller sets MONITOR_DIR.

# Starts the receiver, which logs each export, on the first free port at or above the given one.
start_receiver() { # first port
  local port
  need_python_packages rotel
  port="$(free_port "$1")"
  (exec nohup "$(rotel_program)" start --otlp-http-endpoint "127.0.0.1:$port" \
    --otlp-grpc-endpoint "127.0.0.1:$(free_port "$((port + 1))")" --exporter blackhole --debug-log traces \
    >"$MONITOR_DIR/rotel.log" 2>&1 </dev/null) &
  echo $! >"$MONITOR_DIR/rotel.pid"
  until_true 30 port_answers "$port" ||
    die "the receiver of traces does not listen: $(tail -n 3 "$MONITOR_DIR/rotel.log")"
  echo "http://127.0.0.1:$port" >"$MONITOR_DIR/rotel.url"
}

rotel_program() { "$PYTHON" -c 'import os, rotel; print(os.path.dirname(rotel.__file__) + "/rotel-agent")'; }

# Restarts both services with the receiver's address, unless they have it.
send_traces_to_receiver() {
  BINARIES="$(<"$DEV_DIR/binaries")" REDIS_PORT="$(<"$DEV_DIR/redis.port")" STARTED_SERVICES=()
  start_service factory-service "$FACTORY_URL"
  wait_ready factory-service "$FACTORY_URL"
  start_service scan-service "$SCAN_URL"
  wait_ready scan-service "$SCAN_URL"
}

# The receiver took spans of the service at that address.
exports_spans() { # URL
  curl -sS -m 5 "$1/metrics" | grep -qE '^voketag_trace_spans_total\{outcome="exported"\} [1-9]'
}
