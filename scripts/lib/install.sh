# shellcheck shell=bash disable=SC2034  # the scripts that source this file read what it sets
# Finds the programs that a script needs, and installs those that are missing.

# Tested with the Rust version of Cargo.toml. A version that is already installed is used as it is.
CARGO_DENY_VERSION="0.20.2"
CARGO_TARPAULIN_VERSION="0.37.5"
BY_HAND="run this as root or as a user with sudo"

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

# sudo asks for a password on the terminal. Without a terminal it works only if it needs no password.
may_install() {
  ((EUID == 0)) && return 0
  have sudo && { sudo -n true || : </dev/tty; } 2>/dev/null
}

# Installs one package, by its names in Debian, Fedora, Alpine, Arch and Homebrew.
install_package() { # apt, dnf, apk, pacman, brew
  if have brew && ! have apt-get; then
    say "installing $5 with brew"
    brew install --quiet "$5"
    return
  fi
  may_install || return 1
  if have apt-get; then
    say "installing $1 with apt-get"
    apt_install "$1" >/dev/null 2>&1 && return 0
    # On a fresh machine the package lists are empty or outdated.
    as_root apt-get update -qq || true
    apt_install "$1" >/dev/null
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

apt_install() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$1"
}

missing() { # what, how to install it
  die "$1 is missing and could not be installed: install $2, or $BY_HAND"
}

need() { # command, then its package as for install_package
  local command="$1"
  shift
  have "$command" && return 0
  install_package "$@" || true
  hash -r
  have "$command" || missing "$command" "the package $1"
}

need_curl() { need curl curl curl curl curl curl; }
need_jq() { need jq jq jq jq jq jq; }
need_shellcheck() { need shellcheck shellcheck ShellCheck shellcheck shellcheck shellcheck; }

# promtool comes with Prometheus. Debian and Alpine ship Alertmanager with amtool as a package of its own.
need_monitoring_tools() {
  need promtool prometheus prometheus prometheus prometheus prometheus
  need amtool prometheus-alertmanager alertmanager alertmanager alertmanager alertmanager
}

# Sets REDIS_SERVER to the name of the Redis server program.
need_redis_server() {
  # Some Debian releases keep servers in sbin, which is not in the PATH of a normal user.
  PATH="$PATH:/usr/sbin:/usr/local/sbin"
  if ! have redis-server && ! have valkey-server; then
    say "redis-server is not installed"
    install_package redis-server redis redis redis redis ||
      install_package valkey-server valkey valkey valkey valkey || true
    hash -r
  fi
  if have redis-server; then
    REDIS_SERVER=redis-server
  elif have valkey-server; then
    REDIS_SERVER=valkey-server
  else
    missing redis-server "Redis 6.2 or newer (or Valkey 7.2 or newer)"
  fi
}

# Tests send signals with the program `kill`. The shell's builtin of that name does not help them.
need_kill() {
  [[ -n "$(type -P kill)" ]] && return 0
  install_package procps procps-ng procps procps-ng util-linux || true
  hash -r
  [[ -n "$(type -P kill)" ]] || missing "the program kill" "the package procps"
}

need_rust() {
  have cargo || PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin:/usr/local/cargo/bin"
  have cargo || die "cargo is missing: install Rust $(rust_version) or newer, e.g. with rustup, and try again"
  # Rust links with the C compiler, and some dependencies compile C code.
  links_c && return 0
  install_package build-essential gcc build-base gcc gcc || true
  hash -r
  links_c || missing "a C compiler with its C library" "the package build-essential or gcc"
}

# The tested Rust version. Cargo refuses to build with an older one.
rust_version() { sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml; }

# A compiler without the headers and start files of the C library is not enough.
links_c() { have cc && cc -x c -o /dev/null - <<<'int main(void) { return 0; }' >/dev/null 2>&1; }

need_cargo_component() { # subcommand, component
  cargo "$1" --version >/dev/null 2>&1 && return 0
  have rustup || die "cargo $1 is missing, and so is rustup, which would add it"
  say "adding the component $2 with rustup"
  rustup component add "$2"
}

need_cargo_tool() { # binary, version
  # Cargo finds its subcommands in its own bin folder even if PATH does not list it.
  PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
  have "$1" && return 0
  say "installing $1 $2 with cargo install (once; takes some minutes)"
  cargo install --locked --quiet --version "$2" "$1"
}
