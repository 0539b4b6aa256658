# shellcheck shell=bash disable=SC2034  # monitoring.sh reads what it sets
# The test of the inhibitions: a running Alertmanager is asked which alerts it shows. Source it after
# monitoring.sh.

INHIBITIONS=services/monitoring/tests/inhibitions.txt

# Starts an Alertmanager with services/monitoring/alertmanager.yml, which notifies nobody.
start_test_alertmanager() {
  MONITOR_DIR="$(mktemp -d "${TMPDIR:-/tmp}/voketag-inhibitions.XXXXXX")"
  trap stop_test_alertmanager EXIT
  trap 'exit 130' INT TERM
  SCAN_URL=http://127.0.0.1:1 FACTORY_URL=http://127.0.0.1:1
  choose_monitoring_ports 29290 29390
  write_monitoring_config
  start_alertmanager
}

stop_test_alertmanager() {
  stop_process "$MONITOR_DIR/alertmanager.pid" alertmanager
  rm -rf "$MONITOR_DIR"
}

# Prints the alerts of a case as JSON. A label `case` keeps the cases apart.
alerts_json() { # case, alert...
  local case="$1" alert name label
  shift
  printf '['
  for alert in "$@"; do
    name="${alert%%:*}"
    printf '{"labels":{"alertname":"VokeTag%s","case":"%s"' "$name" "$case"
    [[ "$alert" == *region=* ]] || printf ',"region":"%s"' "eu$case"
    while [[ "$alert" == *:* ]]; do
      alert="${alert#*:}"
      label="${alert%%:*}"
      printf ',"%s":"%s"' "${label%%=*}" "${label#*=}"
    done
    printf '}},'
  done | sed '$s/,$//'
  printf ']'
}

# Prints the names of a case's alerts in a state, sorted: `active` or `suppressed`.
shown_alerts() { # case, state
  curl -sS -m 10 -G --data-urlencode "filter=case=\"$1\"" "$ALERTMANAGER_URL/api/v2/alerts" |
    sed 's/{"annotations"/\n&/g' | { grep -F "\"state\":\"$2\"" || true; } |
    grep -oE '"alertname":"[^"]+"' | cut -d '"' -f 4 | sed 's/^VokeTag//' | LC_ALL=C sort
}

names_of() { printf '%s\n' "$@" | sed -e 's/:.*//' -e '/^$/d' | LC_ALL=C sort; }

shows() { # case, expected active, expected suppressed
  [[ "$(shown_alerts "$1" active)" == "$2" && "$(shown_alerts "$1" suppressed)" == "$3" ]]
}

send_alerts() { # case, alert...
  curl -sS -m 10 --fail-with-body -H 'content-type: application/json' --data "$(alerts_json "$@")" \
    "$ALERTMANAGER_URL/api/v2/alerts" || fail "Alertmanager rejects the alerts of case $1"
}

# Each follower is a case of its own: an alert that is silent itself still silences others.
# Calls `fail` for each case in which Alertmanager shows another set of alerts.
check_running_inhibitions() {
  local number cause silent active alert expectations=() expected
  start_test_alertmanager
  while IFS='|' read -r cause silent active; do
    [[ -n "$cause" && "$cause" != '#'* ]] || continue
    cause="${cause% }"
    for alert in $silent; do expectations+=("$cause $alert silent"); done
    for alert in $active; do expectations+=("$cause $alert active"); done
  done <"$INHIBITIONS"
  for number in "${!expectations[@]}"; do
    read -r cause alert _ <<<"${expectations[number]}"
    send_alerts "$number" "$cause" "$alert"
  done
  for number in "${!expectations[@]}"; do
    read -r cause alert expected <<<"${expectations[number]}"
    if [[ "$expected" == silent ]]; then
      until_true 15 shows "$number" "$(names_of "$cause")" "$(names_of "$alert")" && continue
    else
      until_true 15 shows "$number" "$(names_of "$cause" "$alert")" '' && continue
    fi
    fail "inhibitions.txt: while $cause fires, $alert should be $expected; Alertmanager shows active:" \
      "$(shown_alerts "$number" active | xargs); silent: $(shown_alerts "$number" suppressed | xargs)"
  done
  say "Alertmanager inhibits as expected in ${#expectations[@]} cases"
}
