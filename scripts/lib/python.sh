# shellcheck shell=bash disable=SC2034  # the scripts that source this file read what it sets
# Python packages, each list of them in an environment of its own.

# Sets PYTHON to an interpreter that has the packages of scripts/python/<name>.txt.
need_python_packages() { # name
  local folder="$TARGET_DIR/python/$1" wanted="scripts/python/$1.txt"
  PYTHON="$folder/bin/python"
  cmp -s "$wanted" "$folder/requirements.txt" && return 0
  need python3 python3 python3 python3 python python
  # Debian has the installer of packages as a package of its own.
  python3 -c 'import ensurepip' >/dev/null 2>&1 ||
    install_package python3-venv python3 python3 python python ||
    missing "the Python module ensurepip" "the package python3-venv"
  say "installing the Python packages of $wanted"
  python3 -m venv --clear "$folder"
  "$PYTHON" -m pip install --quiet --disable-pip-version-check --no-input -r "$wanted"
  cp "$wanted" "$folder/requirements.txt"
}
