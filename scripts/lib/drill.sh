# shellcheck shell=bash
# Small functions of restore_drill.sh: state of Redis, batches, scans, and expectations. Source it after
# private_stack.sh.

# Prints one field of Redis's INFO persistence.
persistence() { # field
  local line='' value=''
  exec 4<>"/dev/tcp/127.0.0.1/$REDIS_PORT"
  printf 'INFO persistence\r\n' >&4
  while IFS= read -r -t 10 -u 4 line; do
    line="${line%$'\r'}"
    if [[ "$line" == "$1":* ]]; then value="${line#*:}" && break; fi
  done
  exec 4>&- 4<&-
  printf '%s' "$value"
}

no_rewrite() { [[ "$(persistence aof_rewrite_in_progress)" == 0 ]]; }

audit_size() { factory GET /v1/audit/head | json_scalar size; }

# Mints a batch, writes its export to the file, and prints the batch's id.
mint() { # file, size
  local batch
  batch="$(create_batch "$PRODUCT" "$2")"
  [[ -n "$batch" ]] || return 1
  factory GET "/v1/batches/$batch/tags?format=ndjson" >"$1.part"
  mv "$1.part" "$1"
  printf '%s' "$batch"
}

# Prints the id of one tag of an export.
tag_of() { sed -n "${2:-1}p" "$1" | json_string tag_id; } # file, [row, counted from 1]

# Mints and scans until $LOAD/stop exists.
keep_busy() {
  local number=0
  while [[ ! -e "$LOAD/stop" ]]; do
    number=$((number + 1))
    mint "$LOAD/$(printf '%05d' "$number").ndjson" 5 >/dev/null 2>&1 || true
    scan "$(tag_of "$WORK/kept.ndjson" $((RANDOM % 1000 + 1)))" >/dev/null || true
  done
}

exports_of_load() { find "$LOAD" -name '*.ndjson' | wc -l; }

load_has_minted() { (($(exports_of_load) >= $1)); } # batches

# Scans a tag, prints the status, and writes the body to $WORK/scan.json.
scan() { # tag
  curl -s -m 10 -o "$WORK/scan.json" -w '%{http_code}' -H "X-Forwarded-For: 192.0.2.$((RANDOM % 250))" \
    "$SCAN_URL/v1/scan/$1"
}

expect() { # what, found, expected
  [[ "$2" == "$3" ]] || die "$1: found $2, expected $3"
  say "ok: $1: $2"
}

expect_scan() { # what, tag, status, [valid]
  local status
  status="$(scan "$2")"
  expect "$1" "$status ${4:+$(json_scalar valid <"$WORK/scan.json")}" "$3 ${4:-}"
}

reports_rollback() { [[ "$(curl -s -m 5 "$1/v1/ready")" == *"rolled back"* ]]; } # URL

expect_rollback() { # URL
  until_true 60 reports_rollback "$1" ||
    die "$1 does not report that its state was rolled back: $(curl -s -m 5 "$1/v1/ready")"
}

state_dir_has() { grep -qs "\"size\":$1," "$WORK"/state/*.json; } # size of the audit chain
