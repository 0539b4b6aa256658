#!/usr/bin/env bash
# Checks the Grafana dashboards: they are current, fit Grafana's models, and no two panels overlap.
# shellcheck source-path=SCRIPTDIR source=lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
# shellcheck source-path=SCRIPTDIR source=lib/python.sh
source scripts/lib/python.sh

usage() {
  cat <<'HELP'
Usage: ./scripts/check_dashboards.sh

Fails if a dashboard in services/monitoring/grafana differs from its source, if it has a field that the models
of Grafana's SDK do not know, or if panels overlap or share an id. Installs jq and Python, and the Python
packages of scripts/python/requirements.txt, if they are missing.

  --help   show this text
HELP
}

no_arguments "$@"
./scripts/write_dashboards.sh --check
need_python_packages requirements
"$PYTHON" scripts/python/check_dashboards.py services/monitoring/grafana/dashboards/*.json
