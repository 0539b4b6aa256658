#!/usr/bin/env bash
# Carries out the restore runbook (docs/operations/restore.md) on a private Redis.
# shellcheck source-path=SCRIPTDIR source=lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
# shellcheck source-path=SCRIPTDIR source=lib/private_stack.sh
source scripts/lib/private_stack.sh
# shellcheck source-path=SCRIPTDIR source=lib/drill.sh
source scripts/lib/drill.sh

usage() {
  cat <<'HELP'
Usage: ./scripts/restore_drill.sh [--release]

Starts a private Redis and both services on free ports, and carries out docs/operations/restore.md: a backup
while tags are minted and scanned, the loss of the disk, the restore, `restore accept`, verification,
`batch adopt`, and minting again. Prints what was lost. Fails if a result differs from the runbook.

  --release    build and run optimised binaries (default: debug build)
  --help       show this text
HELP
}

parse_profile "$@"
need_rust
need_curl
build_services "$PROFILE"

# Redis acknowledges a write only when it is on disk. So the loss is exactly what came after the backup.
export APPENDFSYNC=always
start_private "$PROFILE"
OPERATOR="$BINARIES/factory-service"
BACKUP="$WORK/backup"
LOAD="$WORK/load"
mkdir -p "$LOAD"

step "Normal work"
PRODUCT="$(create_product '{"name":"Drill jacket","brand":"Drill"}')"
KEPT="$(mint "$WORK/kept.ndjson" 1000)"
say "a batch of 1,000 tags: $KEPT"
keep_busy &
LOAD_PID=$!
until_true 120 load_has_minted 3 || die "the load minted nothing"

step "Backup under load"
expect "rewrites of the append-only file are off" \
  "$(redis_reply "$REDIS_PORT" CONFIG SET auto-aof-rewrite-percentage 0)" "+OK"
until_true 120 no_rewrite || die "a rewrite of the append-only file did not end"
cp -a "$WORK/appendonlydir" "$BACKUP"
redis_reply "$REDIS_PORT" CONFIG SET auto-aof-rewrite-percentage 100 >/dev/null
say "copied $(find "$BACKUP" -type f | wc -l) files"

step "Work after the backup"
until_true 120 load_has_minted $(($(exports_of_load) + 3)) || die "the load minted nothing"
touch "$LOAD/stop"
wait "$LOAD_PID"
LOST="$(mint "$WORK/lost.ndjson" 50)"
say "a batch of 50 tags, exported and printed: $LOST"
expect_scan "scan of one of its tags" "$(tag_of "$WORK/lost.ndjson")" 200 true
OLD_SIZE="$(audit_size)"
say "the audit chain has $OLD_SIZE entries"
until_true 30 state_dir_has "$OLD_SIZE" || die "STATE_DIR did not record $OLD_SIZE entries"

step "Loss of the disk"
kill_redis
rm -rf "$WORK/appendonlydir"

step "Restore"
cp -a "$BACKUP" "$WORK/appendonlydir"
start_redis
expect_rollback "$FACTORY_URL"
expect_rollback "$SCAN_URL"
say "ok: both running services report: rolled back"
expect_scan "scan before the restore is accepted" "$(tag_of "$WORK/kept.ndjson")" 503
stop_process "$WORK/scan-service.pid" scan-service
start_scan_service
expect_rollback "$SCAN_URL"
say "ok: a service that restarts reports it too"

step "Accept"
"$OPERATOR" restore accept --reason "drill: the disk was lost" >"$WORK/accepted.json"
NEW_SIZE="$(json_scalar size <"$WORK/accepted.json")"
expect "the size in STATE_DIR" "$(json_scalar old_size <"$WORK/accepted.json")" "$OLD_SIZE"
wait_ready "$FACTORY_URL"
wait_ready "$SCAN_URL"
say "ok: both services are ready, without a restart"

step "Verify"
expect "the audit chain is valid" "$(factory POST /v1/audit/verify | json_scalar ok)" true
expect_scan "scan of a tag minted before the backup" "$(tag_of "$WORK/kept.ndjson" 1000)" 200 true
expect_scan "scan of a tag minted after the backup" "$(tag_of "$WORK/lost.ndjson")" 404

step "Adopt"
"$OPERATOR" batch adopt --file "$WORK/lost.ndjson" --product "$PRODUCT" --id "$LOST" >/dev/null
expect_scan "scan of the same tag" "$(tag_of "$WORK/lost.ndjson")" 200 true
expect "its product" "$(json_string product_id <"$WORK/scan.json")" "$PRODUCT"

step "Mint"
NEXT="$(mint "$WORK/next.ndjson" 10)"
expect "the epoch of a new batch" "$(factory GET "/v1/batches/$NEXT" | json_scalar epoch)" \
  "$(json_scalar epoch <"$WORK/accepted.json")"
expect_scan "scan of one of its tags" "$(tag_of "$WORK/next.ndjson" 10)" 200 true
expect "the audit chain is valid" "$(factory POST /v1/audit/verify | json_scalar ok)" true

step "What was lost"
survived=0 lost=0
for file in "$LOAD"/*.ndjson; do
  case "$(scan "$(tag_of "$file")")" in
    200) survived=$((survived + 1)) ;;
    404) lost=$((lost + 1)) ;;
    *) die "$file: $(<"$WORK/scan.json")" ;;
  esac
done
((survived >= 3)) || die "only $survived batches of the load survived; 3 were minted before the backup"
((lost >= 1)) || die "nothing was lost: the backup was not older than the loss"
say "audit entries lost: $((OLD_SIZE - NEW_SIZE)) of $OLD_SIZE"
say "batches lost: $((lost + 1)); 1 was adopted, $lost of the load were not; $survived of the load survived"
say "not counted: scans, revocations, products, tenants and keys since the backup"

step "Summary: the restore drill passed in $SECONDS s"
