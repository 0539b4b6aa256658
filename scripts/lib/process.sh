# shellcheck shell=bash
# Ports, processes, and waiting for a state.

port_answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Prints the first port at or above the given one on which nothing listens.
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

# Succeeds if the process in the file runs and is the named program. The system may have given its number to
# another process.
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

# Sends SIGTERM, and SIGKILL if the process still runs after 15 s.
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

# A zombie counts as gone: only its parent has not collected it yet.
process_gone() {
  kill -0 "$1" 2>/dev/null || return 0
  [[ -r "/proc/$1/status" ]] && grep -q '^State:[[:space:]]*Z' "/proc/$1/status" 2>/dev/null
}

# Runs a command every 100 ms until it succeeds. Fails after the deadline.
until_true() { # seconds, command...
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < deadline)) || return 1
    sleep 0.1
  done
}

# Sends one Redis command, whose words have no blanks, and prints the first line of the reply.
redis_reply() { # port, word...
  local port="$1" line=''
  shift
  exec 3<>"/dev/tcp/127.0.0.1/$port" || return 1
  printf '%s\r\n' "$*" >&3
  IFS= read -r -t 10 -u 3 line || true
  exec 3>&- 3<&-
  printf '%s' "${line%$'\r'}"
} 2>/dev/null

redis_answers() { # port
  [[ "$(redis_reply "$1" PING)" == +PONG ]]
}

# Succeeds if the URL answers with status 200 within five seconds.
answers_200() { # url
  [[ "$(curl -s -o /dev/null -m 5 -w '%{http_code}' "$1" 2>/dev/null)" == 200 ]]
}
