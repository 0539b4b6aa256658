#!/usr/bin/env bash
# Writes the Kubernetes object with the alert rules from the rule files, or checks that it is current.
# shellcheck source-path=SCRIPTDIR source=lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

usage() {
  cat <<'HELP'
Usage: ./scripts/write_manifests.sh [--check]

Writes services/deploy/kubernetes/prometheus-rule.yaml from services/monitoring/rules, so that the Prometheus
operator and any other Prometheus have the same rules.

  --check   write nothing; fail if the file differs from the rules
  --help    show this text
HELP
}

CHECK=no
case "${1:-}" in
  --check) CHECK=yes ;;
  *) no_arguments "$@" ;;
esac

MANIFEST=services/deploy/kubernetes/prometheus-rule.yaml
RULES=(services/monitoring/rules/*.yml)

manifest() {
  cat <<'YAML'
# Written by scripts/write_manifests.sh from services/monitoring/rules. Do not change it by hand.
#
# Set the external label `runbooks` of the Prometheus object to the address of docs/operations: every
# runbook_url begins with it.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: voketag
  namespace: voketag
  labels:
    release: prometheus
spec:
  groups:
YAML
  local file
  for file in "${RULES[@]}"; do
    sed -e '/^#/d' -e '/^groups:$/d' -e 's/^./  &/' "$file"
  done
}

if [[ "$CHECK" == no ]]; then
  manifest >"$MANIFEST"
elif ! diff -q <(manifest) "$MANIFEST" >/dev/null; then
  die "$MANIFEST differs from services/monitoring/rules: ./scripts/write_manifests.sh writes it"
fi
say "Summary: $MANIFEST has the rules of ${#RULES[@]} files"
