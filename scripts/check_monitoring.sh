#!/usr/bin/env bash
# Checks the configuration of Prometheus and Alertmanager in services/monitoring, and tests the rules.
# shellcheck source-path=SCRIPTDIR source=lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
# shellcheck source-path=SCRIPTDIR source=lib/monitoring.sh
source scripts/lib/monitoring.sh
# shellcheck source-path=SCRIPTDIR source=lib/inhibitions.sh
source scripts/lib/inhibitions.sh

usage() {
  cat <<'HELP'
Usage: ./scripts/check_monitoring.sh

Runs promtool and amtool on services/monitoring, and fails if

  - promtool rejects prometheus.yml or a rule, or a unit test of the rules fails
  - an alert lacks a test case that fires, or one that must not
  - an alert lacks a severity, a summary with a number, or a runbook_url
  - a runbook_url does not lead to a heading of docs/operations
  - amtool rejects alertmanager.yml, or an inhibition names an alert that does not exist
  - a running Alertmanager shows other alerts than services/monitoring/tests/inhibitions.txt says
  - a rule, a document or a script names a metric that docs/operations/metrics.md lacks

Installs promtool and amtool as packages if they are missing.

  --help   show this text
HELP
}

no_arguments "$@"
need_monitoring_tools

MONITORING=services/monitoring
FAILURES=0
fail() {
  printf '%s\n' "$*" >&2
  FAILURES=$((FAILURES + 1))
}

# Prints "name|severity|summary has a number|runbook" of each alert, one per line. A folded text may continue
# on the next lines.
alerts() {
  awk '
    function flush() {
      if (name != "") printf "%s|%s|%s|%s\n", name, severity, number, runbook
      name = severity = number = runbook = ""
    }
    /^ *- (alert|record|name):/ { flush(); field = "" }
    /^ *- alert:/ { name = $3 }
    /^ *labels:/ && match($0, /severity: *[a-z]+/) {
      severity = substr($0, RSTART + 10, RLENGTH - 10)
      sub(/^ */, "", severity)
    }
    /^ *summary:/ { field = "summary" }
    /^ *runbook_url:/ { field = "runbook" }
    field == "summary" && /[$]value/ { number = "yes" }
    field == "runbook" && match($0, /[$]externalLabels[.]runbooks }}\/[a-z0-9.#-]+/) {
      runbook = substr($0, RSTART, RLENGTH)
      sub(/^.*}}\//, "", runbook)
    }
    END { flush() }
  ' "$MONITORING"/rules/*.yml
}

# Prints "fires name" or "silent name" for each case of the unit tests.
cases() {
  awk '/^ *- alertname:/ { name = $3 } /^ *exp_alerts:/ { print ($2 == "[]" ? "silent" : "fires"), name }' \
    "$MONITORING"/tests/*.yml
}

check_alert() { # name, severity, yes or nothing, runbook
  local heading="docs/operations/${4%%#*}"
  [[ "$2" == page || "$2" == ticket ]] || fail "$1: its severity is '$2', not page or ticket"
  [[ "$3" == yes ]] || fail "$1: its summary shows no number"
  if [[ "$4" != *.md#* || ! -f "$heading" ]]; then
    fail "$1: its runbook_url '$4' leads to no page of docs/operations"
  elif ! grep -qxF "${4#*#}" < <(anchors "$heading"); then
    fail "$1: its runbook_url $4 leads to no heading"
  fi
  grep -qx "fires $1" <<<"$CASES" || fail "$1: no test case fires it"
  grep -qx "silent $1" <<<"$CASES" || fail "$1: no test case shows that it stays silent"
}

# Each alternative of a matcher must be a beginning or the whole of an alert's name.
check_inhibitions() {
  local pattern
  while IFS= read -r pattern; do
    cut -d '|' -f 1 <<<"$ALERTS" | grep -qE "^($pattern)$" ||
      fail "alertmanager.yml: no alert has the name $pattern"
  done < <(grep -oE 'alertname=~?"[^"]+"' "$MONITORING/alertmanager.yml" | sed -E 's/^[^"]*"(.*)"$/\1/' |
    awk '{
      if (match($0, /\(.*\)/)) {
        count = split(substr($0, RSTART + 1, RLENGTH - 2), parts, "|")
        for (i = 1; i <= count; i++) print substr($0, 1, RSTART - 1) parts[i]
      } else print
    }')
}

# Prints every metric that the rules, tests, dashboards, documents and scripts name, without the endings of a
# histogram. CHANGELOG.md names former ones.
named_metrics() {
  {
    documents | grep -v -e CHANGELOG.md -e metrics.md
    find "$MONITORING" -type f
    shell_scripts
  } | xargs grep -ohE '\bvoketag_[a-z0-9_]*[a-z0-9]\b' | sed -E 's/_(bucket|sum|count)$//' | sort -u
}

check_metric_names() {
  local name reference=docs/operations/metrics.md
  while IFS= read -r name; do
    grep -qF "| \`$name\` |" "$reference" || grep -rqF "${name}_" "$reference" && continue
    fail "$name: named, but not in $reference"
  done < <(named_metrics)
}

promtool check config "$MONITORING/prometheus.yml" >/dev/null || fail "promtool rejects prometheus.yml"
promtool check rules "$MONITORING"/rules/*.yml >/dev/null || fail "promtool rejects a rule"
promtool test rules "$MONITORING"/tests/*.yml || fail "a unit test of the rules failed"
amtool check-config "$MONITORING/alertmanager.yml" >/dev/null || fail "amtool rejects alertmanager.yml"

ALERTS="$(alerts)"
CASES="$(cases)"
COUNT="$(wc -l <<<"$ALERTS")"
((COUNT > 10)) || die "could not read the alerts of $MONITORING/rules"
while IFS='|' read -r name severity number runbook; do
  check_alert "$name" "$severity" "$number" "$runbook"
done <<<"$ALERTS"
check_inhibitions
check_running_inhibitions
check_metric_names

((FAILURES == 0)) || die "$FAILURES faults in $MONITORING"
say "Summary: $COUNT alerts, $(wc -l <<<"$CASES") test cases, every runbook exists"
