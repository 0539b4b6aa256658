# shellcheck shell=bash disable=SC2154  # the file .dev/demo sets the demo's ids
# The demo of dev_up.sh: mints a batch, scans one of its tags, and shows what to try next.

make_demo() {
  local product batch tags
  if [[ -s "$DEV_DIR/demo" ]]; then
    # shellcheck source=/dev/null
    source "$DEV_DIR/demo"
    if factory GET "/v1/batches/$DEMO_BATCH" >/dev/null 2>&1; then
      say "demo: using the batch of the last run, $DEMO_BATCH"
      return 0
    fi
  fi
  product="$(create_product '{"name":"Demo jacket","brand":"VokeTag","gtin":"4006381333931"}')"
  batch="$(create_batch "$product" 1000 ',"label":"demo"')"
  tags="$(factory GET "/v1/batches/$batch/tags?format=ndjson&limit=2")" || die "cannot read the tags: $tags"
  {
    printf 'DEMO_PRODUCT=%q\nDEMO_BATCH=%q\n' "$product" "$batch"
    printf 'DEMO_TAG=%q\n' "$(sed -n 1p <<<"$tags" | json_string tag_id)"
    printf 'DEMO_TAG_2=%q\n' "$(sed -n 2p <<<"$tags" | json_string tag_id)"
  } >"$DEV_DIR/demo"
  # shellcheck source=/dev/null
  source "$DEV_DIR/demo"
  say "demo: minted a batch of 1,000 tags, $DEMO_BATCH"
}

show_demo() {
  local scan page cli
  # Read each time: the port may differ from the last run.
  page="$(factory GET "/v1/tags/$DEMO_TAG" | json_string url)"
  cli="REDIS_URL=redis://127.0.0.1:$REDIS_PORT \"$BINARIES/factory-service\""
  scan="$(curl -sS -m 10 --fail-with-body "$SCAN_URL/v1/scan/$DEMO_TAG")" || die "the scan failed: $scan"
  step "GET $SCAN_URL/v1/scan/$DEMO_TAG"
  if have jq; then jq . <<<"$scan"; else say "$scan"; fi
  cat <<NEXT

The page that a phone opens:  $page
The API, to try in a browser: $SCAN_URL/docs and $FACTORY_URL/docs
Logs:                         ${LOG_DIR#"$ROOT"/}/

What to try next (paste it; the first line loads the API key into your shell):

  cd "$ROOT" && set -a && . .dev/env && set +a
  factory() { curl -s -H "Authorization: Bearer \$FACTORY_API_KEY" "\$@"; }

  # scan the tag again: its scan count grows
  curl -s $SCAN_URL/v1/scan/$DEMO_TAG

  # export tags of the batch as CSV, as a printer gets them
  factory "$FACTORY_URL/v1/batches/$DEMO_BATCH/tags?format=csv&limit=5"

  # revoke the second tag: the next scan reports it
  factory -H 'Content-Type: application/json' -d '{"reason":"lost in transit"}' \\
    $FACTORY_URL/v1/tags/$DEMO_TAG_2/revoke
  curl -s $SCAN_URL/v1/scan/$DEMO_TAG_2

  # verify the audit chain
  factory -X POST $FACTORY_URL/v1/audit/verify

  # the signed checkpoint of the audit chain; keep a copy elsewhere
  factory $FACTORY_URL/v1/audit/checkpoint

  # create a tenant and an API key for it (this command line talks to Redis, not to the service)
  $cli tenant create acme
  $cli key create --tenant acme --scope factory:write,factory:read

  # 80 and 150 concurrent clients, against a private copy of the services
  ./scripts/load_test_local.sh

Stop everything:              ./scripts/dev_down.sh   (--wipe also deletes data and secrets)
NEXT
}
