#!/usr/bin/env bash
# The tag's page in a real browser: opened as a phone would, photographed, and looked at for what must be on it.
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source-path=SCRIPTDIR source=stack_lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/stack_lib.sh"

usage() {
  cat <<'HELP'
Usage: ./scripts/page_test.sh [--release] [--keep DIR]

Starts a private Redis and both services on free ports, mints a batch, and opens the page of a tag in headless Chromium: genuine,
scanned too often, recalled, revoked, forged, no tag at all, and after a report. Each page must show its verdict and need no script. Installs
Chromium if there is none.

The pictures are for looking at. NAME.png is the page as the service sends it, in a window of 500 px, the narrowest that Chromium opens;
NAME.phone.png is the same HTML in a frame as wide as a small phone (360 px). The page after a report is the answer to a form that curl
sends, so it has the second picture only.

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

# Chromium lays a window out no narrower than 500 px, whatever size it is given; a frame can be as narrow as a phone.
WIDTH=500
PHONE=360
HEIGHT=1100

need_browser() {
  for BROWSER in chromium chromium-browser google-chrome; do have "$BROWSER" && return 0; done
  install_package chromium chromium chromium chromium chromium || true
  hash -r
  for BROWSER in chromium chromium-browser; do have "$BROWSER" && return 0; done
  die "Chromium is missing and could not be installed: install it, or run this as root or as a user with sudo"
}

browse() { # arguments...
  timeout 60 "$BROWSER" --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking \
    --disable-component-update --disable-sync --disable-extensions --user-data-dir="$WORK/browser" "$@" 2>>"$WORK/browser.log"
}

picture() { # file name, address
  rm -f "$PICTURES/$1"
  browse --hide-scrollbars --window-size="$WIDTH,$HEIGHT" --screenshot="$PICTURES/$1" "$2" >/dev/null
  [[ -s "$PICTURES/$1" ]] || die "$1: no picture was taken"
  PICTURE_COUNT=$((PICTURE_COUNT + 1))
}

must_show() { # name, HTML, text that must be on it
  [[ "$2" == *"$3"* ]] || die "$1: '$3' is not on the page"
  [[ "$2" != *"<script"* ]] || die "$1: the page holds a script"
  PAGE_COUNT=$((PAGE_COUNT + 1))
}

# A page of the service does not let itself be framed, so what is framed is a copy of its HTML.
phone_picture() { # name, HTML
  printf '%s' "$2" >"$WORK/$1.html"
  printf '<!doctype html><body style="margin:0"><iframe src="%s.html" style="border:0;width:%spx;height:%spx"></iframe>' \
    "$1" "$PHONE" "$HEIGHT" >"$WORK/$1.frame.html"
  picture "$1.phone.png" "file://$WORK/$1.frame.html"
}

# Opens a page for its text, for its picture, and once more in the width of a phone.
look() { # name, path, text that must be on it
  local name="$1" url="$SCAN_URL$2" text="$3" dom
  dom="$(browse --dump-dom "$url")" || die "$name: the browser failed; the end of its log: $(tail -n 3 "$WORK/browser.log")"
  must_show "$name" "$dom" "$text"
  picture "$name.png" "$url"
  phone_picture "$name" "$dom"
  say "  $name: '$text'"
}

scan_times() { # path, times
  local i
  for ((i = 0; i < $2; i++)); do curl -sS -m 5 -o /dev/null -A Mozilla/5.0 "$SCAN_URL$1"; done
}

pages() {
  local answer product batch tags
  answer="$(factory POST /v1/products '{"name":"Sérum Éclat 30 ml <b>édition</b>","brand":"Maison Exemple","gtin":"4006381333931"}')"
  product="$(json_string id <<<"$answer")"
  answer="$(factory POST /v1/batches "{\"product_id\":\"$product\",\"size\":100,\"label\":\"Spring 2026\",\"manufactured_at\":\"2026-02-16T00:00:00Z\"}")"
  batch="$(json_string id <<<"$answer")"
  mapfile -t tags < <(factory GET "/v1/batches/$batch/tags?format=csv&limit=5" | sed 1d | tr -d '\r' | cut -d, -f3)
  ((${#tags[@]} == 5)) || die "the export held ${#tags[@]} tags, not 5"

  look genuine "/t/${tags[0]}" Genuine
  scan_times "/t/${tags[1]}" 12
  look often "/t/${tags[1]}" 'look closely'
  factory POST "/v1/tags/${tags[2]}/revoke" '{"reason":"stolen"}' >/dev/null
  look revoked "/t/${tags[2]}" 'Not valid any more'
  look forged "/t/45WJFC7QGJG00VSKRCWBK9GR0R" 'Not a genuine tag'
  look no_tag "/t/nonsense" 'Not a VokeTag'
  answer="$(curl -sS -m 5 --data-urlencode reason=counterfeit --data-urlencode 'details=The cap is loose.' "$SCAN_URL/t/${tags[0]}/report")"
  must_show reported "$answer" 'Report received'
  phone_picture reported "$answer"
  say "  reported: 'Report received'"
  factory GET '/v1/audit/events?limit=100' | grep -q 'report.received' || die "the report is not in the audit trail"
  factory POST "/v1/batches/$batch/recall" '{"reason":"contaminated"}' >/dev/null
  look recalled "/t/${tags[0]}" Recalled
}

need_rust
need_curl
need_redis_server
need_browser
step "Building"
if [[ "$BUILT" == release ]]; then
  build_optimised
else
  cargo build --locked --bin scan-service --bin factory-service
fi
mkdir -p "$PICTURES"
step "Starting"
RATE_LIMIT_IP_PER_MINUTE=1000 start_private "$BUILT"
step "Pages"
PAGE_COUNT=0 PICTURE_COUNT=0
pages
step "Summary of page_test.sh, $SECONDS s in all"
say "$PAGE_COUNT pages show what they must; $PICTURE_COUNT pictures are in $PICTURES"
