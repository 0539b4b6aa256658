#!/usr/bin/env bash
# Checks the files of services/deploy: Kubernetes manifests against their schemas, systemd units with systemd.
# shellcheck source-path=SCRIPTDIR source=lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
# shellcheck source-path=SCRIPTDIR source=lib/python.sh
source scripts/lib/python.sh

usage() {
  cat <<'HELP'
Usage: ./scripts/check_deploy.sh

Fails if a manifest of services/deploy/kubernetes does not fit the schema of its kind, if its objects do not
refer to each other, if the alert rules in it are outdated, or if systemd rejects a unit of
services/deploy/systemd or would confine it badly. Installs Python with the packages of
scripts/python/requirements.txt, and systemd, if they are missing.

  --help   show this text
HELP
}

# The exposure that `systemd-analyze security` may find, in tenths: 0 is best, 100 unconfined.
EXPOSURE=20

check_units() {
  local folder unit failed=0
  folder="$(mktemp -d)"
  for unit in services/deploy/systemd/*.service; do
    # systemd wants programs that exist.
    sed 's#^\(ExecStart[A-Za-z]*=\)[^ ]*#\1/bin/true#' "$unit" >"$folder/${unit##*/}"
    systemd-analyze verify --man=no "$folder/${unit##*/}" || failed=1
    systemd-analyze security --offline=yes --threshold="$EXPOSURE" "$folder/${unit##*/}" \
      >"$folder/exposure" || {
      tail -n 2 "$folder/exposure" >&2
      failed=1
    }
    tail -n 1 "$folder/exposure" | sed "s#.*exposure level for#exposure of#"
  done
  rm -r "$folder"
  ((failed == 0)) || die "systemd rejects a unit"
}

no_arguments "$@"
./scripts/write_manifests.sh --check
need_python_packages requirements
"$PYTHON" scripts/python/check_kubernetes.py services/deploy/kubernetes/*.yaml
if [[ "$(uname -s)" == Linux ]]; then
  need systemd-analyze systemd systemd systemd systemd systemd
  check_units
fi
