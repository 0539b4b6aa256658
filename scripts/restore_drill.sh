#!/usr/bin/env bash
# The restore runbook (docs/operations/restore.md), carried out for real on a private Redis.
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source-path=SCRIPTDIR source=stack_lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/stack_lib.sh"

usage() {
  cat <<'HELP'
Usage: ./scripts/restore_drill.sh [--release]

Starts a private Redis and both services on free ports, and carries out docs/operations/restore.md: a backup while tags are minted and scanned,
the loss of the disk, the restore, `restore accept`, verification, `batch adopt`, and minting again. Prints what was lost, and fails if anything
is not as the runbook says.

  --release    build and run the optimised binaries (the default is the debug build)
  --help       this text
HELP
}

BUILT=debug
case "${1:-}" in
  '') ;;
  --release) BUILT=release ;;
  -h | --help) usage && exit 0 ;;
  *) usage >&2 && die "unknown argument: $1" ;;
esac

need_rust
need_curl
if [[ "$BUILT" == release ]]; then build_optimised; else cargo build --locked --bin scan-service --bin factory-service; fi

# Acknowledged means on the disk: what is lost then is what came after the backup, and nothing else.
APPENDFSYNC=always start_private "$BUILT"
REDIS_PORT="${REDIS_URL##*:}"
OPERATOR="$TARGET_DIR/$BUILT/factory-service"
BACKUP="$WORK/backup"
LOAD="$WORK/load"
mkdir -p "$LOAD"

# ---- small things ----

# The first line of the reply to one command without blanks in its words.
redis_says() {
  local line=''
  exec 4<>"/dev/tcp/127.0.0.1/$REDIS_PORT"
  printf '%s\r\n' "$*" >&4
  IFS= read -r -t 10 -u 4 line || true
  exec 4>&- 4<&-
  printf '%s' "${line%$'\r'}"
}

persistence() { # member of INFO persistence
  local line='' found=''
  exec 4<>"/dev/tcp/127.0.0.1/$REDIS_PORT"
  printf 'INFO persistence\r\n' >&4
  while IFS= read -r -t 10 -u 4 line; do
    line="${line%$'\r'}"
    if [[ "$line" == "$1":* ]]; then found="${line#*:}" && break; fi
  done
  exec 4>&- 4<&-
  printf '%s' "$found"
}

head_size() { factory GET /v1/audit/head | json_scalar size; }

# Mints a batch, keeps its export, and prints its id.
mint() { # file, size
  local batch
  batch="$(factory POST /v1/batches "{\"product_id\":\"$PRODUCT\",\"size\":$2}" | json_string id)"
  [[ -n "$batch" ]] || return 1
  factory GET "/v1/batches/$batch/tags?format=ndjson" >"$1.part"
  mv "$1.part" "$1"
  printf '%s' "$batch"
}

tag_of() { sed -n "${2:-1}p" "$1" | json_string tag_id; } # file, [row]

# The status of one scan; the answer is left in $WORK/scan.json.
scan() { curl -s -m 10 -o "$WORK/scan.json" -w '%{http_code}' -H "X-Forwarded-For: 192.0.2.$((RANDOM % 250))" "$SCAN_URL/v1/scan/$1"; }

expect() { # what, found, wanted
  [[ "$2" == "$3" ]] || die "$1: found $2, not $3"
  say "ok: $1: $2"
}

expect_scan() { # what, tag, status, [valid]
  local status
  status="$(scan "$2")"
  expect "$1" "$status ${4:+$(json_scalar valid <"$WORK/scan.json")}" "$3 ${4:-}"
}

rolled_back() { # url
  [[ "$(curl -s -m 5 "$1/v1/ready")" == *"rolled back"* ]]
}

# Mints and scans until it is told to stop.
keep_busy() {
  local number=0
  while [[ ! -e "$LOAD/stop" ]]; do
    number=$((number + 1))
    mint "$LOAD/$(printf '%05d' "$number").ndjson" 5 >/dev/null 2>&1 || true
    scan "$(tag_of "$WORK/kept.ndjson" $((RANDOM % 1000 + 1)))" >/dev/null || true
  done
}

# ---- the drill ----

step "Work goes on"
PRODUCT="$(factory POST /v1/products '{"name":"Drill jacket","brand":"Drill"}' | json_string id)"
KEPT="$(mint "$WORK/kept.ndjson" 1000)"
say "a batch of 1,000 tags: $KEPT"
keep_busy &
LOAD_PID=$!
minted_some() { [[ "$(find "$LOAD" -name '*.ndjson' | wc -l)" -ge "$1" ]]; }
until_true 120 minted_some 3 || die "the load minted nothing"

step "Backup, under load"
expect "no rewrite begins while the files are copied" "$(redis_says CONFIG SET auto-aof-rewrite-percentage 0)" "+OK"
no_rewrite() { [[ "$(persistence aof_rewrite_in_progress)" == 0 ]]; }
until_true 120 no_rewrite || die "a rewrite of the append-only file did not end"
cp -a "$WORK/appendonlydir" "$BACKUP"
redis_says CONFIG SET auto-aof-rewrite-percentage 100 >/dev/null
say "copied $(find "$BACKUP" -type f | wc -l) files"

step "More work, which the backup does not have"
until_true 120 minted_some "$(($(find "$LOAD" -name '*.ndjson' | wc -l) + 3))" || die "the load minted nothing"
touch "$LOAD/stop"
wait "$LOAD_PID"
LOST="$(mint "$WORK/lost.ndjson" 50)"
say "a batch of 50 tags, exported and printed: $LOST"
expect_scan "a printed tag of it" "$(tag_of "$WORK/lost.ndjson")" 200 true
OLD_SIZE="$(head_size)"
say "the audit trail has $OLD_SIZE entries"
state_is_kept() { grep -qs "\"size\":$OLD_SIZE," "$WORK"/state/*.json; }
until_true 30 state_is_kept || die "STATE_DIR did not note $OLD_SIZE entries"

step "The disk burns"
disown "$(<"$WORK/redis.pid")" # Bash would report the kill in the middle of what follows.
kill -KILL "$(<"$WORK/redis.pid")"
until_true 15 process_gone "$(<"$WORK/redis.pid")" || die "the private Redis did not end"
rm -rf "$WORK/appendonlydir"

step "Restore"
cp -a "$BACKUP" "$WORK/appendonlydir"
start_redis
for url in "$FACTORY_URL" "$SCAN_URL"; do
  until_true 60 rolled_back "$url" || die "$url does not say that the state was rolled back: $(curl -s -m 5 "$url/v1/ready")"
done
say "ok: both running services say: rolled back"
expect_scan "a scan meanwhile" "$(tag_of "$WORK/kept.ndjson")" 503
stop_process "$WORK/scan-service.pid" scan-service
BIND_ADDR="${SCAN_URL#http://}" TRUSTED_PROXIES=127.0.0.0/8 "$TARGET_DIR/$BUILT/scan-service" serve >>"$WORK/scan-service.log" 2>&1 </dev/null &
echo $! >"$WORK/scan-service.pid"
until_true 60 rolled_back "$SCAN_URL" || die "a service that starts again takes the restored state as it is"
say "ok: a service that starts again says so too"

step "Accept"
"$OPERATOR" restore accept --reason "drill: the disk burned" >"$WORK/accepted.json"
NEW_SIZE="$(json_scalar size <"$WORK/accepted.json")"
expect "the size that STATE_DIR knew" "$(json_scalar old_size <"$WORK/accepted.json")" "$OLD_SIZE"
for url in "$FACTORY_URL" "$SCAN_URL"; do
  until_true 60 answers_200 "$url/v1/ready" || die "$url is not ready after the restore was accepted: $(curl -s -m 5 "$url/v1/ready")"
done
say "ok: both services go on, and none was restarted for it"

step "Verify"
expect "the audit trail is whole" "$(factory POST /v1/audit/verify | json_scalar ok)" true
expect_scan "a tag from before the backup" "$(tag_of "$WORK/kept.ndjson" 1000)" 200 true
expect_scan "a tag that was minted after it" "$(tag_of "$WORK/lost.ndjson")" 404

step "Adopt"
"$OPERATOR" batch adopt --file "$WORK/lost.ndjson" --product "$PRODUCT" --id "$LOST" >/dev/null
expect_scan "the same tag" "$(tag_of "$WORK/lost.ndjson")" 200 true
expect "it is on its product" "$(json_string product_id <"$WORK/scan.json")" "$PRODUCT"

step "Mint"
NEXT="$(mint "$WORK/next.ndjson" 10)"
expect "the epoch of a new batch" "$(factory GET "/v1/batches/$NEXT" | json_scalar epoch)" "$(json_scalar epoch <"$WORK/accepted.json")"
expect_scan "a tag of it" "$(tag_of "$WORK/next.ndjson" 10)" 200 true
expect "the audit trail is whole" "$(factory POST /v1/audit/verify | json_scalar ok)" true

step "What was lost"
survived=0 lost=0
for file in "$LOAD"/*.ndjson; do
  case "$(scan "$(tag_of "$file")")" in
    200) survived=$((survived + 1)) ;;
    404) lost=$((lost + 1)) ;;
    *) die "$file: $(<"$WORK/scan.json")" ;;
  esac
done
((survived >= 3)) || die "of the load's batches only $survived survived, and 3 were minted before the backup"
((lost >= 1)) || die "nothing was lost: the backup was not older than the loss"
say "entries of the audit trail: $((OLD_SIZE - NEW_SIZE)) of $OLD_SIZE"
say "batches: $((lost + 1)), of which 1 was taken back; $lost minted by the load were left (their exports would bring them back), $survived survived"
say "and what the drill does not count: scans, revocations, products, tenants and keys since the backup"

step "Summary: the restore drill went through in $SECONDS s"
