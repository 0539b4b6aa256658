# shellcheck shell=bash disable=SC2034  # the scripts that source this file read what it sets
# The base of every script: strict mode, the repository's root as working directory, and shared functions.

set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
cd "$ROOT"

# Development data that is not source: secrets, Redis files, logs, process ids. Git ignores it.
DEV_DIR="$ROOT/.dev"
TARGET_DIR="${CARGO_TARGET_DIR:-$ROOT/target}"

# shellcheck source-path=SCRIPTDIR source=output.sh
source scripts/lib/output.sh
# shellcheck source-path=SCRIPTDIR source=install.sh
source scripts/lib/install.sh
# shellcheck source-path=SCRIPTDIR source=process.sh
source scripts/lib/process.sh
# shellcheck source-path=SCRIPTDIR source=api.sh
source scripts/lib/api.sh

# Stops a script that takes no arguments, unless it was called without one. The script defines `usage`.
no_arguments() {
  case "${1:-}" in
    '') ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && die "unknown argument: $1" ;;
  esac
}

# Sets PROFILE for a script whose only option is --release. The script defines `usage`.
parse_profile() {
  PROFILE=debug
  if [[ "${1:-}" == --release ]]; then
    PROFILE=release
    shift
  fi
  no_arguments "$@"
}

# Builds both services. The release build includes the bench: a build of fewer binaries would select other
# features and compile many crates a second time.
build_services() { # profile: debug or release
  if [[ "$1" == release ]]; then
    cargo build --locked --release --bin scan-service --bin factory-service --bin bench
  else
    cargo build --locked --bin scan-service --bin factory-service
  fi
}

# Prints every shell script of the project.
shell_scripts() { printf '%s\n' scripts/*.sh scripts/lib/*.sh .ci/run; }

# Prints every document of the project.
documents() {
  find . -name '*.md' -not -path './target*' -not -path './.dev/*' -not -path './.git/*' \
    -not -path '*/node_modules/*' | sed 's#^\./##' | sort
}

# Prints the anchors of a document's headings, as GitHub makes them.
anchors() { # file
  awk '/^```/ { fence = !fence } !fence && /^#+ / { sub(/^#+ +/, ""); print tolower($0) }' "$1" |
    sed -E 's/[^a-z0-9 _-]//g; s/ /-/g'
}
