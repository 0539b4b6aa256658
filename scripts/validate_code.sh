#!/usr/bin/env bash
# Checks the code without running it.
# shellcheck source-path=SCRIPTDIR source=lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

usage() {
  cat <<'HELP'
Usage: ./scripts/validate_code.sh [check...]

Runs all checks, or the named ones, and prints a summary. A failed check does not stop the others.

  format         cargo fmt --check
  lints          clippy for all targets, with warnings denied
  docs           cargo doc for the workspace, with warnings denied
  imports        which crate may depend on which, no import circles, and unique type names
                 (scripts/check_imports.sh, check_circles.sh, check_names.sh)
  sizes          sizes of files and functions (scripts/check_sizes.sh)
  shell          shellcheck for every script
  monitoring     alert rules with their tests, dashboards (scripts/check_monitoring.sh, check_dashboards.sh)
  deploy         Kubernetes manifests, systemd units (scripts/check_deploy.sh)
  dependencies   licences, sources and bans with cargo-deny, and known vulnerabilities if their database is
                 reachable
  links          links and paths in the documents (scripts/check_links.sh)

Installs shellcheck, promtool, amtool, jq, systemd and Python as packages, and cargo-deny with cargo install,
if they are missing.

  --help   show this text
HELP
}

check_format() {
  need_cargo_component fmt rustfmt
  cargo fmt --all --check
}

check_lints() {
  need_cargo_component clippy clippy
  cargo clippy --workspace --all-targets --quiet -- -D warnings
}

check_docs() { RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --quiet; }

check_imports() {
  ./scripts/check_imports.sh
  ./scripts/check_circles.sh
  ./scripts/check_names.sh
}

check_sizes() { ./scripts/check_sizes.sh; }

check_shell() {
  need_shellcheck
  local scripts script
  mapfile -t scripts < <(shell_scripts)
  shellcheck --external-sources "${scripts[@]}"
  for script in "${scripts[@]}"; do
    # Files in scripts/lib are sourced, not run.
    [[ "$script" == scripts/lib/* || -x "$script" ]] || die "$script is not executable"
  done
  say "${#scripts[@]} scripts"
}

check_dependencies() {
  need_cargo_tool cargo-deny "$CARGO_DENY_VERSION"
  cargo deny --log-level error check --hide-inclusion-graph bans licenses sources
}

# A check of its own, because its database comes from the network. If the database is unreachable, the summary
# says that the check was skipped.
check_advisories() {
  cargo deny --log-level error check --hide-inclusion-graph --disable-fetch advisories
}

advisories() {
  local log="$TARGET_DIR/advisories.log"
  mkdir -p "$TARGET_DIR"
  have cargo-deny || PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
  if ! have cargo-deny; then
    note_step "advisories" FAIL "cargo-deny is missing"
  elif cargo deny fetch db >"$log" 2>&1; then
    run_step "advisories" check_advisories
  else
    step "advisories"
    say "NOT CHECKED: the database of known vulnerabilities is unreachable:"
    grep '^fatal:' "$log" | tail -n 1 || tail -n 1 "$log"
    note_step "advisories" SKIP "not checked: the database is unreachable"
  fi
}

check_links() { ./scripts/check_links.sh; }

check_deploy() { ./scripts/check_deploy.sh; }

check_monitoring() { ./scripts/check_monitoring.sh && ./scripts/check_dashboards.sh; }

CHECKS=()
for argument in "$@"; do
  case "$argument" in
    -h | --help) usage && exit 0 ;;
    format | lints | docs | imports | sizes | shell | monitoring | deploy | dependencies | links)
      CHECKS+=("$argument")
      ;;
    *) usage >&2 && die "unknown check: $argument" ;;
  esac
done
if ((${#CHECKS[@]} == 0)); then
  CHECKS=(format lints docs imports sizes shell monitoring deploy dependencies links)
fi

need_rust
for check in "${CHECKS[@]}"; do
  run_step "$check" "check_$check"
  if [[ "$check" == dependencies ]]; then advisories; fi
done
print_summary
