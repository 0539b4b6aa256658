#!/usr/bin/env bash
# Writes the Grafana dashboards from their source, or checks that they are current.
# shellcheck source-path=SCRIPTDIR source=lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

usage() {
  cat <<'HELP'
Usage: ./scripts/write_dashboards.sh [--check]

Writes dashboards/*.json in services/monitoring/grafana from source.json, which has the queries, titles and
units, and dashboards.jq, which has the form. Installs jq if it is missing.

  --check   write nothing; fail if a dashboard differs from its source
  --help    show this text
HELP
}

CHECK=no
case "${1:-}" in
  --check) CHECK=yes ;;
  *) no_arguments "$@" ;;
esac

need_jq
GRAFANA=services/monitoring/grafana
FAILED=0
while read -r uid; do
  file="$GRAFANA/dashboards/$uid.json"
  dashboard="$(jq --arg uid "$uid" -f "$GRAFANA/dashboards.jq" "$GRAFANA/source.json")"
  if [[ "$CHECK" == no ]]; then
    printf '%s\n' "$dashboard" >"$file"
  elif [[ ! -f "$file" || "$dashboard" != "$(<"$file")" ]]; then
    printf '%s differs from its source: ./scripts/write_dashboards.sh writes it\n' "$file" >&2
    FAILED=1
  fi
done < <(jq -r '.[].uid' "$GRAFANA/source.json")
((FAILED == 0)) || exit 1
say "Summary: $(jq 'length' "$GRAFANA/source.json") dashboards, $(jq '[.[].sections[].panels[]] | length' \
  "$GRAFANA/source.json") panels"
