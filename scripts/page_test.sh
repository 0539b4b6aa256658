#!/usr/bin/env bash
# The pages in a real browser: opened as a phone would, photographed, and held to what a consumer needs of them.
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source-path=SCRIPTDIR source=stack_lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/stack_lib.sh"

usage() {
  cat <<'HELP'
Usage: ./scripts/page_test.sh [--release] [--keep DIR]

Starts a private Redis and both services on free ports, mints batches, and opens every kind of page in headless Chromium: genuine, with long
names and names from right to left, scanned too often, recalled, revoked, expired, forged, no tag at all, too many checks, unavailable, and the address
without a tag. Each is looked at in a window of 320 px with text of 100 % and of 200 %, and in one of 1280 px, in the light and the dark scheme:

  - it shows its verdict, and not what contradicts it; it holds no script
  - nothing is cut or sticks out, and no text stands one letter per line
  - axe-core finds no violation, and no contrast below 4.5:1 whatever the size of the text

Then the forms of our pages are sent, "Try again" is pressed, and pages of another origin try to scan and to report in the visitor's name.

The pictures are for looking at: NAME.WIDTH.TEXT.SCHEME.png. Installs Chromium, Node.js and npm if they are missing, and what
scripts/page_test/package-lock.json names, below target.

  --release    build and run the optimised binaries (the default is the debug build)
  --keep DIR   leave the screenshots there (default: target/pages)
  --help       this text
HELP
}

PICTURES="$TARGET_DIR/pages"
BUILT=debug
while (($# > 0)); do
  case "$1" in
    --release) BUILT=release ;;
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

DRIVER="$TARGET_DIR/page_test"

need_browser() {
  for BROWSER in chromium chromium-browser google-chrome; do have "$BROWSER" && break; done
  if ! have "$BROWSER"; then
    install_package chromium chromium chromium chromium chromium || true
    hash -r
    for BROWSER in chromium chromium-browser; do have "$BROWSER" && break; done
  fi
  have "$BROWSER" || die "Chromium is missing and could not be installed: install it, or run this as root or as a user with sudo"
  BROWSER="$(command -v "$BROWSER")"
}

need_driver() {
  need node nodejs nodejs nodejs nodejs node
  need npm npm npm npm npm node
  mkdir -p "$DRIVER"
  cp scripts/page_test/check.mjs "$DRIVER/"
  cmp -s scripts/page_test/package-lock.json "$DRIVER/package-lock.json" && [[ -d "$DRIVER/node_modules" ]] && return 0
  cp scripts/page_test/package.json scripts/page_test/package-lock.json "$DRIVER/"
  (cd "$DRIVER" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error) ||
    die "npm could not install what scripts/page_test/package-lock.json names"
}

scan_times() { # path, times, address
  local i
  for ((i = 0; i < $2; i++)); do curl -sS -m 5 -o /dev/null -A Mozilla/5.0 -H "X-Forwarded-For: $3" "$SCAN_URL$1"; done
}

flush_redis() {
  local port="${REDIS_URL##*:}" reply=''
  exec 3<>"/dev/tcp/127.0.0.1/$port"
  printf 'FLUSHALL\r\n' >&3
  IFS= read -r -t 5 -u 3 reply || true
  exec 3>&- 3<&-
  [[ "$reply" == +OK* ]] || die "the private Redis did not forget: $reply"
}

in_three_seconds() { TZ=UTC printf '%(%Y-%m-%dT%H:%M:%SZ)T' "$((EPOCHSECONDS + 3))"; }

# A batch of ten tags; sets BATCH and the array TAGS.
mint() { # product as JSON, further members of the batch
  local product
  product="$(factory POST /v1/products "$1" | json_string id)"
  BATCH="$(factory POST /v1/batches "{\"product_id\":\"$product\",\"size\":10$2}" | json_string id)"
  mapfile -t TAGS < <(factory GET "/v1/batches/$BATCH/tags?format=csv" | sed 1d | tr -d '\r' | cut -d, -f3)
  ((${#TAGS[@]} == 10)) || die "the export held ${#TAGS[@]} tags, not 10"
}

PAGES=''
look() { # name, path, status, text that must be on it, [JSON array of what must not be], [address]
  PAGES+="${PAGES:+,}{\"name\":\"$1\",\"path\":\"$2\",\"status\":$3,\"text\":\"$4\",\"without\":${5:-[]},\"address\":\"${6:-192.0.2.1}\"}"
}

check() { # retries, forms, foreign
  printf '{"scan":"%s","pictures":"%s","browser":"%s","pages":[%s],"retries":[%s],"forms":[%s],"foreign":%s}' \
    "$SCAN_URL" "$PICTURES" "$BROWSER" "$PAGES" "$1" "$2" "$3" >"$WORK/plan.json"
  PAGES=''
  timeout 600 node "$DRIVER/check.mjs" "$WORK/plan.json" || die "the pages are not as they must be; see above, and the pictures in $PICTURES"
}

pages() {
  local forged='/t/45WJFC7QGJG00VSKRCWBK9GR0R' limited='192.0.2.9' no_risk='["Risk","of 100"]'
  mint '{"name":"Sérum Éclat 30 ml <b>édition</b>","brand":"Maison Exemple","gtin":"4006381333931"}' \
    ',"label":"Spring 2026","manufactured_at":"2026-02-16T00:00:00Z","expires_at":"2031-05-01T00:00:00Z"'
  local first=("${TAGS[@]}") recalled="$BATCH"
  look genuine "/t/${first[0]}" 200 'Genuine' '["Recalled"]'
  scan_times "/t/${first[1]}" 12 192.0.2.2
  look often "/t/${first[1]}" 200 'look closely'
  factory POST "/v1/tags/${first[2]}/revoke" '{"reason":"Stolen from a lorry near Lyon in October."}' >/dev/null
  look revoked "/t/${first[2]}" 200 'Stolen from a lorry' "$no_risk"
  mint '{"name":"Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaftsuhr","brand":"Uhrenmanufaktur Unaussprechlichkeitsgesellschaft"}' \
    ',"label":"Los-2026-11-25/Nordrhein-Westfalen/Sonderedition/0001"'
  look long_names "/t/${TAGS[0]}" 200 'Donaudampf'
  mint '{"name":"קרם פנים (30 ml)","brand":"مثال للتجميل"}' ',"label":"דגם (א)"'
  look right_to_left "/t/${TAGS[0]}" 200 'Genuine'
  mint '{"name":"קרם פנים (30 ml)","brand":"مثال للتجميل"}' ',"label":"דגם (א)"'
  factory POST "/v1/batches/$BATCH/recall" '{"reason":"قد يحتوي المنتج على زجاج (30 ml)."}' >/dev/null
  look right_to_left_recalled "/t/${TAGS[1]}" 200 'Recalled' "$no_risk"
  look forged "$forged" 404 'What to look at' "$no_risk"
  look no_tag '/t/nonsense%20%3Cb%3E' 400 'Not a VokeTag' "$no_risk"
  look nothing_here '/t/a/b' 404 'Nothing here'
  look home / 200 'VokeTag'
  scan_times "/t/${first[3]}" 31 "$limited"
  look limited "/t/${first[3]}" 429 'You can try again in' '[]' "$limited"
  look form_unread "/t/nonsense/report" 400 'Not a VokeTag'
  # By the time that this page is opened, after all others, it has expired.
  mint '{"name":"Sérum Éclat 30 ml","brand":"Maison Exemple"}' ",\"expires_at\":\"$(in_three_seconds)\""
  look expired "/t/${TAGS[0]}" 200 'Expired on' "$no_risk"
  local foreign_port allowed_retry forms
  foreign_port="$(free_port "$((ALLOWED_PORT + 1))")"
  allowed_retry="{\"name\":\"limited\",\"path\":\"/t/${first[3]}\",\"address\":\"$limited\"}"
  forms="{\"name\":\"reported\",\"path\":\"/t/${first[0]}\",\"text\":\"The brand finds it\"}"
  forms+=",{\"name\":\"reported_forged\",\"path\":\"$forged\",\"text\":\"not one of ours\"}"
  forms+=",{\"name\":\"reported_no_tag\",\"path\":\"/t/no%20tag\",\"text\":\"not one of ours\"}"
  check "$allowed_retry" "$forms" "{\"tag\":\"${first[4]}\",\"port\":$foreign_port,\"allowedPort\":$ALLOWED_PORT}"

  local events listed
  events="$(factory GET '/v1/audit/events?limit=100' | grep -o '"report.received"' | wc -l)"
  ((events == 2)) || die "$events reports are in the audit trail, not 2: that of our form and that of the named origin"
  listed="$(factory GET /v1/admin/unproven-reports | grep -o '"code":' | wc -l)"
  ((listed == 2)) || die "$listed reports of codes that are not ours are listed, not 2"

  factory POST "/v1/batches/$recalled/recall" '{"reason":"Glass splinters were found in some lids. Bring the item back to the shop."}' >/dev/null
  look recalled "/t/${first[0]}" 200 'Glass splinters' "$no_risk"
  check '' '' null
  flush_redis
  look unavailable "/t/${first[0]}" 503 'You can try again in'
  check "{\"name\":\"unavailable\",\"path\":\"/t/${first[0]}\",\"address\":\"192.0.2.1\"}" '' null
}

need_rust
need_curl
need_redis_server
need_browser
need_driver
step "Building"
if [[ "$BUILT" == release ]]; then
  build_optimised
else
  cargo build --locked --bin scan-service --bin factory-service
fi
mkdir -p "$PICTURES"
rm -f "$PICTURES"/*.png
step "Starting"
ALLOWED_PORT="$(free_port 28280)"
# A new region has half of it.
RATE_LIMIT_IP_PER_MINUTE=60 REPORT_CORS_ORIGINS="http://localhost:$ALLOWED_PORT" start_private "$BUILT"
step "Pages"
pages
step "Summary of page_test.sh, $SECONDS s in all"
say "every page is as it must be; the pictures are in $PICTURES"
