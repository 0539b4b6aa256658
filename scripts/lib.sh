# shellcheck shell=bash disable=SC2034  # what is set here is read by the scripts that source it
# What the scripts share. Sourced, never run: it sets strict mode, moves to the top of the repository and defines helpers.

set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$ROOT"

# Everything that is made for development and is not source: secrets, data, logs, process ids. Ignored by git.
DEV_DIR="$ROOT/.dev"
TARGET_DIR="${CARGO_TARGET_DIR:-$ROOT/target}"
# Known to work together with the pinned language version; any version already installed is used as it is.
CARGO_DENY_VERSION="0.20.2"
CARGO_TARPAULIN_VERSION="0.37.5"

# ---- saying ----

if [[ -t 1 && -z "${NO_COLOR:-}" ]]; then
  BOLD=$'\e[1m' RED=$'\e[31m' GREEN=$'\e[32m' YELLOW=$'\e[33m' PLAIN=$'\e[0m'
else
  BOLD='' RED='' GREEN='' YELLOW='' PLAIN=''
fi

say() { printf '%s\n' "$*"; }
step() { printf '\n%s== %s%s\n' "$BOLD" "$*" "$PLAIN"; }
warn() { printf '%swarning:%s %s\n' "$YELLOW" "$PLAIN" "$*" >&2; }
die() {
  printf '%serror:%s %s\n' "$RED" "$PLAIN" "$*" >&2
  exit 1
}

# ---- a list of steps and its summary ----

STEP_NAMES=()
STEP_RESULTS=()
STEP_NOTES=()

note_step() { # name, PASS|FAIL|SKIP, note
  STEP_NAMES+=("$1")
  STEP_RESULTS+=("$2")
  STEP_NOTES+=("${3:-}")
}

# Runs a command or function with errexit in force inside it, and remembers how it ended.
# Not to be called in a condition: there bash would switch errexit off.
run_step() { # name, command...
  local name="$1" started=$SECONDS status
  shift
  step "$name"
  set +e
  (
    set -e
    "$@"
  )
  status=$?
  set -e
  if ((status == 0)); then
    note_step "$name" PASS "$((SECONDS - started)) s"
  else
    note_step "$name" FAIL "$((SECONDS - started)) s, exit status $status"
  fi
}

# Prints one line a step; fails when one of them failed.
print_summary() {
  local i failed=0 skipped=0 colour
  step "Summary of $(basename "$0"), $SECONDS s in all"
  for i in "${!STEP_NAMES[@]}"; do
    case "${STEP_RESULTS[i]}" in
      PASS) colour="$GREEN" ;;
      FAIL) colour="$RED" failed=$((failed + 1)) ;;
      *) colour="$YELLOW" skipped=$((skipped + 1)) ;;
    esac
    printf '  %s%s%s  %s (%s)\n' "$colour" "${STEP_RESULTS[i]}" "$PLAIN" "${STEP_NAMES[i]}" "${STEP_NOTES[i]}"
  done
  if ((failed > 0)); then
    printf '%s%d of %d failed%s\n' "$RED" "$failed" "${#STEP_NAMES[@]}" "$PLAIN"
    return 1
  fi
  if ((skipped > 0)); then
    printf '%snothing failed, %d not done%s\n' "$YELLOW" "$skipped" "$PLAIN"
  else
    printf '%sall passed%s\n' "$GREEN" "$PLAIN"
  fi
}

# ---- what must be installed ----

have() { command -v "$1" >/dev/null 2>&1; }

as_root() {
  if ((EUID == 0)); then
    "$@"
  elif have sudo; then
    sudo "$@"
  else
    return 1
  fi
}

# sudo asks for a password on the terminal; where there is none, it can only refuse.
may_install() {
  ((EUID == 0)) && return 0
  have sudo && { sudo -n true || : </dev/tty; } 2>/dev/null
}

# Installs one package; the names are those of Debian, Fedora, Alpine, Arch and Homebrew, in that order.
install_package() { # apt, dnf, apk, pacman, brew
  if have brew && ! have apt-get; then
    say "installing $5 with brew"
    brew install --quiet "$5"
    return
  fi
  may_install || return 1
  if have apt-get; then
    say "installing $1 with apt-get"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$1" >/dev/null 2>&1 && return 0
    # The lists of a fresh machine are empty or old.
    as_root apt-get update -qq || true
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$1" >/dev/null
  elif have dnf; then
    say "installing $2 with dnf"
    as_root dnf install -y -q "$2"
  elif have apk; then
    say "installing $3 with apk"
    as_root apk add --quiet "$3"
  elif have pacman; then
    say "installing $4 with pacman"
    as_root pacman -Sy --noconfirm --needed "$4"
  else
    return 1
  fi
}

need() { # command, then its package as for install_package
  local command="$1"
  shift
  have "$command" && return 0
  install_package "$@" || true
  hash -r
  have "$command" || die "$command is missing and could not be installed: install it (package $1), or run this as root or as a user with sudo"
}

need_curl() { need curl curl curl curl curl curl; }
need_shellcheck() { need shellcheck shellcheck ShellCheck shellcheck shellcheck shellcheck; }

# The name of the Redis server program, installed first if there is none. Sets REDIS_SERVER.
need_redis_server() {
  # Debian keeps servers in sbin on some releases, which a plain user's PATH leaves out.
  PATH="$PATH:/usr/sbin:/usr/local/sbin"
  if ! have redis-server && ! have valkey-server; then
    say "no redis-server here"
    install_package redis-server redis redis redis redis || install_package valkey-server valkey valkey valkey valkey || true
    hash -r
  fi
  if have redis-server; then
    REDIS_SERVER=redis-server
  elif have valkey-server; then
    REDIS_SERVER=valkey-server
  else
    die "redis-server is missing and could not be installed: install Redis 6.2 or newer (or Valkey 7.2 or newer), or run this as root or as a user with sudo"
  fi
}

# The program, which tests send signals with; every shell has a builtin of that name.
need_kill() {
  [[ -n "$(type -P kill)" ]] && return 0
  install_package procps procps-ng procps procps-ng util-linux || true
  hash -r
  [[ -n "$(type -P kill)" ]] || die "the program kill is missing and could not be installed: install it (package procps), or run this as root or as a user with sudo"
}

need_rust() {
  have cargo || PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin:/usr/local/cargo/bin"
  have cargo || die "cargo is missing: install Rust (the version is in Cargo.toml, rust-version), e.g. with rustup, and run this again"
  # Rust links with it, and some dependencies compile a little C.
  links_c && return 0
  install_package build-essential gcc build-base gcc gcc || true
  hash -r
  links_c || die "a C compiler with its C library is missing and could not be installed: install it (package build-essential or gcc), or run this as root or as a user with sudo"
}

# A compiler without the C library's headers and start files is not enough.
links_c() { have cc && cc -x c -o /dev/null - <<<'int main(void) { return 0; }' >/dev/null 2>&1; }

need_cargo_component() { # subcommand, component
  cargo "$1" --version >/dev/null 2>&1 && return 0
  have rustup || die "cargo $1 is missing, and there is no rustup to add it with"
  say "adding the component $2 with rustup"
  rustup component add "$2"
}

need_cargo_tool() { # binary, version
  # cargo finds its own subcommands there even where PATH does not list it; the scripts look too.
  PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
  have "$1" && return 0
  say "installing $1 $2 with cargo install (once; some minutes)"
  cargo install --locked --quiet --version "$2" "$1"
}

# One build for everything that runs optimised: naming fewer binaries would choose other features, and build much of it again.
build_optimised() {
  cargo build --release --locked --bin scan-service --bin factory-service --bin bench
}

# ---- ports, processes, waiting ----

port_answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# The first port from the given one on that nobody listens on.
free_port() {
  local port="$1" last=$(($1 + 200))
  while ((port < last)); do
    port_answers "$port" || {
      printf '%s' "$port"
      return 0
    }
    port=$((port + 1))
  done
  die "no free port between $1 and $last"
}

# Whether the process in this file runs and is the named program: a number alone may have been given to somebody else.
runs() { # pid file, program
  local pid line
  [[ -s "$1" ]] || return 1
  pid="$(<"$1")"
  kill -0 "$pid" 2>/dev/null || return 1
  if [[ -r "/proc/$pid/cmdline" ]]; then
    line="$(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null || true)"
  else
    line="$(ps -p "$pid" -o args= 2>/dev/null || true)"
  fi
  [[ "$line" == *"$2"* ]]
}

# Asks it to end, waits for it, and ends it the hard way after 15 s.
stop_process() { # pid file, program
  local pid
  if runs "$1" "$2"; then
    pid="$(<"$1")"
    kill -TERM "$pid" 2>/dev/null || true
    until_true 15 process_gone "$pid" || {
      warn "$2 ($pid) did not end within 15 s: killing it"
      kill -KILL "$pid" 2>/dev/null || true
    }
  fi
  rm -f "$1"
}

# A zombie whose parent has not looked yet is gone for us.
process_gone() {
  kill -0 "$1" 2>/dev/null || return 0
  [[ -r "/proc/$1/status" ]] && grep -q '^State:[[:space:]]*Z' "/proc/$1/status" 2>/dev/null
}

# Polls a command until it succeeds; fails at the deadline.
until_true() { # seconds, command...
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < deadline)) || return 1
    sleep 0.1
  done
}

redis_answers() { # port
  local reply=''
  exec 3<>"/dev/tcp/127.0.0.1/$1" || return 1
  printf 'PING\r\n' >&3
  IFS= read -r -t 2 -u 3 reply || true
  exec 3>&- 3<&-
  [[ "$reply" == +PONG* ]]
} 2>/dev/null

# 200 within five seconds.
answers_200() { # url
  [[ "$(curl -s -o /dev/null -m 5 -w '%{http_code}' "$1" 2>/dev/null)" == 200 ]]
}

# ---- small things ----

# The first string member of that name in the JSON on standard input.
json_string() {
  grep -oE "\"$1\"[[:space:]]*:[[:space:]]*\"[^\"]*\"" | sed -n '1s/.*:[[:space:]]*"\(.*\)"$/\1/p'
}

# The first number, true, false or null of that name in the JSON on standard input.
json_scalar() {
  grep -oE "\"$1\"[[:space:]]*:[[:space:]]*[-+.0-9a-z]+" | sed -n '1s/.*:[[:space:]]*//p'
}

# Random bytes as hex.
random_hex() { # bytes
  od -An -N "$1" -tx1 /dev/urandom | tr -d ' \n'
}

# Every shell script of the project.
shell_scripts() {
  printf '%s\n' scripts/*.sh .ci/run
}
