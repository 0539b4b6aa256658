# shellcheck shell=bash disable=SC2034  # dev_up.sh reads what this file sets
# Starts both services for dev_up.sh, and restarts one whose binary, secrets or settings changed.

# Chooses both ports before either service starts, because the factory prints addresses of the scan page.
# Sets SCAN_URL and FACTORY_URL.
choose_ports() {
  local scan factory
  scan="$(choose_port scan-service "${SCAN_PORT:-}" 8080)"
  factory="$(choose_port factory-service "${FACTORY_PORT:-}" 8081)"
  if [[ "$scan" == "$factory" ]]; then factory="$(free_port "$((scan + 1))")"; fi
  say "ports: scan-service $scan, factory-service $factory"
  echo "$scan" >"$DEV_DIR/scan-service.port"
  echo "$factory" >"$DEV_DIR/factory-service.port"
  SCAN_URL="http://127.0.0.1:$scan"
  FACTORY_URL="http://127.0.0.1:$factory"
}

# Prints the port on which the service already listens, else the first free port at or above the requested
# one, the last one or the default.
choose_port() { # service, requested port or nothing, default port
  local last=""
  if [[ -s "$DEV_DIR/$1.port" ]]; then last="$(<"$DEV_DIR/$1.port")"; fi
  if [[ -n "$last" && "${2:-$last}" == "$last" ]] && runs "$DEV_DIR/$1.pid" "$1"; then
    printf '%s' "$last"
  else
    free_port "${2:-${last:-$3}}"
  fi
}

start_service() { # name, URL
  local name="$1" stamp
  # monitor_up.sh started a receiver of traces.
  if runs "$DEV_DIR/monitor/rotel.pid" rotel; then
    export OTEL_EXPORTER_OTLP_ENDPOINT="${OTEL_EXPORTER_OTLP_ENDPOINT:-$(<"$DEV_DIR/monitor/rotel.url")}"
  fi
  stamp="$(service_stamp "$name" "$2")"
  if runs "$DEV_DIR/$name.pid" "$name"; then
    if [[ "$(cat "$DEV_DIR/$name.stamp" 2>/dev/null || true)" == "$stamp" ]]; then
      say "$name: already running on $2"
      return 0
    fi
    say "$name: its binary or its settings changed: restarting it"
    stop_process "$DEV_DIR/$name.pid" "$name"
  fi
  STARTED_SERVICES+=("$name")
  (
    load_env_file
    export BIND_ADDR="${2#http://}" REDIS_URL="redis://127.0.0.1:$REDIS_PORT" PUBLIC_BASE_URL="$SCAN_URL"
    # Outside Redis, so that the services notice an older copy of its data.
    export STATE_DIR="$DEV_DIR/state"
    exec nohup "$BINARIES/$name" serve >>"$LOG_DIR/$name.log" 2>&1 </dev/null
  ) &
  echo $! >"$DEV_DIR/$name.pid"
  echo "$stamp" >"$DEV_DIR/$name.stamp"
  echo "$BINARIES" >"$DEV_DIR/binaries"
}

# Changes whenever a running service must be restarted.
service_stamp() { # name, URL
  local settings='ACCESS_LOG|AUDIT_|COLD_START_|DEPLOYMENT_INIT|GLOBAL_REDIS_|IDEMPOTENCY_|KEEP_ALIVE_|'
  settings+='LOG_FORMAT|MAX_CONNECTIONS|OTEL_|RATE_LIMIT_|REDIS_POOL_|REDIS_COMMAND_|REGION|REPORT_CORS_|'
  settings+='RUST_LOG|TAG_KEY_|TRUSTED_PROXIES'
  printf '%s %s %s ' "$2" "$SCAN_URL" "$REDIS_PORT"
  {
    cat "$BINARIES/$1" "$ENV_FILE"
    env | sed -n -E "/^($settings)/p" | sort
  } | cksum
}

wait_ready() { # name, URL
  until_true 60 ready_or_dead "$1" "$2/v1/ready" || true
  if ! answers_200 "$2/v1/ready"; then
    warn "the last lines of $LOG_DIR/$1.log:"
    tail -n 15 "$LOG_DIR/$1.log" >&2 || true
    curl -s -m 5 "$2/v1/ready" >&2 || true
    runs "$DEV_DIR/$1.pid" "$1" || die "$1 has ended"
    die "$1 is not ready after 60 s (if its data was deleted on purpose: ./scripts/dev_down.sh --wipe)"
  fi
  say "$1: ready on $2"
}

ready_or_dead() { # name, readiness URL
  answers_200 "$2" || ! runs "$DEV_DIR/$1.pid" "$1"
}
