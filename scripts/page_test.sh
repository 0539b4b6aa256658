#!/usr/bin/env bash
# Checks the consumer's pages in a real browser, and takes screenshots.
# shellcheck source-path=SCRIPTDIR source=lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
# shellcheck source-path=SCRIPTDIR source=lib/private_stack.sh
source scripts/lib/private_stack.sh
# shellcheck source-path=SCRIPTDIR source=lib/browser.sh
source scripts/lib/browser.sh

usage() {
  cat <<'HELP'
Usage: ./scripts/page_test.sh [--release] [--keep DIR]

Starts a private Redis and both services on free ports, mints batches, and opens every kind of page in
headless Chromium: genuine, with long or right-to-left names, scanned often, recalled, revoked, expired,
forged, not a tag, rate limited, unavailable, the home page, and the status page. It shows each page 320 px
wide with text of 100 % and 200 %, and 1280 px wide, in the light and the dark colour scheme, and checks:

  - the page shows its verdict and nothing that contradicts it, and has no script
  - no element is cut or overflows, and no text is squeezed into lines of a few letters
  - axe-core finds no violation, and no contrast below 4.5:1 for text of any size

Then it submits the forms of the pages, follows "Try again", and lets pages of another origin try to scan and
to report in the visitor's name.

The screenshots are NAME.WIDTH.TEXT.SCHEME.png. Installs Chromium, Node.js and npm if they are missing, and
the packages of scripts/page_test/package-lock.json below target.

  --release    build and run optimised binaries (default: debug build)
  --keep DIR   the folder of the screenshots (default: target/pages)
  --help       show this text
HELP
}

PICTURES="$TARGET_DIR/pages"
PROFILE=debug
while (($# > 0)); do
  case "$1" in
    --release) PROFILE=release ;;
    --keep)
      [[ -n "${2:-}" ]] || die "--keep takes a folder"
      PICTURES="$2"
      shift
      ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && die "unknown argument: $1" ;;
  esac
  shift
done

scan_times() { # path, times, client address
  local i
  for ((i = 0; i < $2; i++)); do
    curl -sS -m 5 -o /dev/null -A Mozilla/5.0 -H "X-Forwarded-For: $3" "$SCAN_URL$1"
  done
}

in_three_seconds() { TZ=UTC printf '%(%Y-%m-%dT%H:%M:%SZ)T' "$((EPOCHSECONDS + 3))"; }

# Mints a batch of ten tags. Sets BATCH and the array TAGS.
mint() { # product as JSON, [further JSON members of the batch, with a leading comma]
  BATCH="$(create_batch "$(create_product "$1")" 10 "${2:-}")"
  mapfile -t TAGS < <(factory GET "/v1/batches/$BATCH/tags?format=csv" | sed 1d | tr -d '\r' | cut -d, -f3)
  ((${#TAGS[@]} == 10)) || die "the export had ${#TAGS[@]} tags, expected 10"
}

pages() {
  local forged='/t/45WJFC7QGJG00VSKRCWBK9GR0R' limited='192.0.2.9' no_risk='["Risk","of 100"]' long port
  mint '{"name":"Sérum Éclat 30 ml <b>édition</b>","brand":"Maison Exemple","gtin":"4006381333931"}' \
    ',"label":"Spring 2026","manufactured_at":"2026-02-16T00:00:00Z","expires_at":"2031-05-01T00:00:00Z"'
  FIRST=("${TAGS[@]}") FIRST_BATCH="$BATCH"
  open_page genuine "/t/${FIRST[0]}" 200 'Genuine' '["Recalled"]'
  scan_times "/t/${FIRST[1]}" 12 192.0.2.2
  open_page often "/t/${FIRST[1]}" 200 'look closely'
  factory POST "/v1/tags/${FIRST[2]}/revoke" '{"reason":"Stolen from a lorry near Lyon."}' >/dev/null
  open_page revoked "/t/${FIRST[2]}" 200 'Stolen from a lorry' "$no_risk"
  long='{"name":"Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaftsuhr"'
  mint "$long,\"brand\":\"Uhrenmanufaktur Unaussprechlichkeitsgesellschaft\"}" \
    ',"label":"Los-2026-11-25/Nordrhein-Westfalen/Sonderedition/0001"'
  open_page long_names "/t/${TAGS[0]}" 200 'Donaudampf'
  mint '{"name":"קרם פנים (30 ml)","brand":"مثال للتجميل"}' ',"label":"דגם (א)"'
  open_page right_to_left "/t/${TAGS[0]}" 200 'Genuine'
  mint '{"name":"קרם פנים (30 ml)","brand":"مثال للتجميل"}' ',"label":"דגם (א)"'
  factory POST "/v1/batches/$BATCH/recall" '{"reason":"قد يحتوي المنتج على زجاج (30 ml)."}' >/dev/null
  open_page right_to_left_recalled "/t/${TAGS[1]}" 200 'Recalled' "$no_risk"
  open_page forged "$forged" 404 'What to look at' "$no_risk"
  open_page no_tag '/t/nonsense%20%3Cb%3E' 400 'Not a VokeTag' "$no_risk"
  open_page nothing_here '/t/a/b' 404 'Nothing here'
  open_page home / 200 'VokeTag'
  open_page status /status 200 'Circuit breaker by Redis pool'
  scan_times "/t/${FIRST[3]}" 31 "$limited"
  open_page limited "/t/${FIRST[3]}" 429 'You can try again in' '[]' "$limited"
  open_page form_unread "/t/nonsense/report" 400 'Not a VokeTag'
  # The driver opens this page last, after the tag has expired.
  mint '{"name":"Sérum Éclat 30 ml","brand":"Maison Exemple"}' ",\"expires_at\":\"$(in_three_seconds)\""
  open_page expired "/t/${TAGS[0]}" 200 'Expired on' "$no_risk"
  port="$(free_port "$((ALLOWED_PORT + 1))")"
  local forms="{\"name\":\"reported\",\"path\":\"/t/${FIRST[0]}\",\"text\":\"The brand sees the report\"}"
  forms+=",{\"name\":\"reported_forged\",\"path\":\"$forged\",\"text\":\"not one of ours\"}"
  forms+=",{\"name\":\"reported_no_tag\",\"path\":\"/t/no%20tag\",\"text\":\"not one of ours\"}"
  check_pages "{\"name\":\"limited\",\"path\":\"/t/${FIRST[3]}\",\"address\":\"$limited\"}" "$forms" \
    "{\"tag\":\"${FIRST[4]}\",\"port\":$port,\"allowedPort\":$ALLOWED_PORT}"
}

reports() {
  local events listed
  events="$(factory GET '/v1/audit/events?limit=100' | grep -o '"report.received"' | wc -l)"
  ((events == 2)) ||
    die "the audit chain has $events reports, expected 2: by our form and by the allowed origin"
  listed="$(factory GET /v1/admin/unproven-reports | grep -o '"code":' | wc -l)"
  ((listed == 2)) || die "$listed reports of codes that are not ours are listed, expected 2"
}

later_pages() {
  factory POST "/v1/batches/$FIRST_BATCH/recall" \
    '{"reason":"Glass splinters were found in some lids. Bring the item back to the shop."}' >/dev/null
  open_page recalled "/t/${FIRST[0]}" 200 'Glass splinters' '["Risk","of 100"]'
  check_pages '' '' null
  [[ "$(redis_reply "$REDIS_PORT" FLUSHALL)" == +OK ]] || die "the private Redis did not delete its data"
  open_page unavailable "/t/${FIRST[0]}" 503 'You can try again in'
  check_pages "{\"name\":\"unavailable\",\"path\":\"/t/${FIRST[0]}\",\"address\":\"192.0.2.1\"}" '' null
}

need_rust
need_curl
need_redis_server
need_browser
need_driver
step "Building"
build_services "$PROFILE"
mkdir -p "$PICTURES"
rm -f "$PICTURES"/*.png
step "Starting"
ALLOWED_PORT="$(free_port 28280)"
# A new region admits half of this limit.
export RATE_LIMIT_IP_PER_MINUTE=60 REPORT_CORS_ORIGINS="http://localhost:$ALLOWED_PORT"
start_private "$PROFILE"
step "Pages"
pages
reports
later_pages
step "Summary of page_test.sh, $SECONDS s in all"
say "every page is as expected; the screenshots are in $PICTURES"
