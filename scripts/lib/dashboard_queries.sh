# shellcheck shell=bash
# Asks a running Prometheus the queries of the Grafana dashboards. The script sets PROMETHEUS_URL and STARTED.

DASHBOARDS=services/monitoring/grafana/dashboards

query() { curl -sS -m 10 -G --data-urlencode "query=$1" "$PROMETHEUS_URL/api/v1/query"; }

# Prints file, place and query of each query in the dashboards, with the values of the variables, as tabs.
queries() {
  # shellcheck disable=SC2016  # variables of jq and Grafana
  jq -r '. as $dashboard | (
      (.panels[] | select(.targets) | .title as $title | .targets[] | [$title + " " + .refId, .expr]),
      (.annotations.list[] | ["annotation " + .name, .expr]),
      (.templating.list[] | select(.type == "query") | ["variable " + .name, .query.query])
    ) | [$dashboard.uid] + . | @tsv' "$DASHBOARDS"/*.json |
    sed -e 's/\$region/.*/g; s/\$instance/.*/g; s/\$__rate_interval/10s/g; s/\\\\/\\/g'
}

# Prints the number of series that had a number since STARTED.
series_with_data() { # query
  local label metric
  if [[ "$1" =~ ^label_values\((.+),\ *([a-z_]+)\)$ ]]; then
    metric="${BASH_REMATCH[1]}" label="${BASH_REMATCH[2]}"
    curl -sS -m 10 -G --data-urlencode "match[]=$metric" "$PROMETHEUS_URL/api/v1/label/$label/values" |
      jq '.data | length'
    return
  fi
  curl -sS -m 20 -G --data-urlencode "query=$1" --data "start=$STARTED" --data "end=$EPOCHSECONDS" \
    --data step=2 "$PROMETHEUS_URL/api/v1/query_range" |
    jq -r 'if .status != "success" then "error: " + .error else
      [.data.result[] | select(any(.values[]; .[1] != "NaN"))] | length end'
}
