# shellcheck shell=bash disable=SC2034  # page_test.sh reads what this file sets
# The browser of page_test.sh, its driver, and the plan that the driver carries out.

DRIVER="$TARGET_DIR/page_test"

# Sets BROWSER to the path of a Chromium.
need_browser() {
  find_browser || {
    install_package chromium chromium chromium chromium chromium || true
    hash -r
    find_browser || missing Chromium "the package chromium"
  }
}

find_browser() {
  local name
  for name in chromium chromium-browser google-chrome; do
    if BROWSER="$(command -v "$name")"; then return 0; fi
  done
  return 1
}

# Installs the packages of scripts/page_test/package-lock.json below target.
need_driver() {
  need node nodejs nodejs nodejs nodejs node
  need npm npm npm npm npm node
  mkdir -p "$DRIVER"
  cp scripts/page_test/check.mjs "$DRIVER/"
  cmp -s scripts/page_test/package-lock.json "$DRIVER/package-lock.json" && [[ -d "$DRIVER/node_modules" ]] &&
    return 0
  cp scripts/page_test/package.json scripts/page_test/package-lock.json "$DRIVER/"
  (cd "$DRIVER" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error) ||
    die "npm could not install the packages of scripts/page_test/package-lock.json"
}

PAGES=''

# Adds a page to the plan.
open_page() { # name, path, status, expected text, [JSON array of forbidden texts], [client address]
  PAGES+="${PAGES:+,}{\"name\":\"$1\",\"path\":\"$2\",\"status\":$3,\"text\":\"$4\""
  PAGES+=",\"without\":${5:-[]},\"address\":\"${6:-192.0.2.1}\"}"
}

# Runs the plan and clears it. Each argument is JSON.
check_pages() { # retries, forms, foreign
  {
    printf '{"scan":"%s","pictures":"%s","browser":"%s",' "$SCAN_URL" "$PICTURES" "$BROWSER"
    printf '"pages":[%s],"retries":[%s],"forms":[%s],"foreign":%s}' "$PAGES" "$1" "$2" "$3"
  } >"$WORK/plan.json"
  PAGES=''
  timeout 600 node "$DRIVER/check.mjs" "$WORK/plan.json" ||
    die "a page is not as expected; see above, and the screenshots in $PICTURES"
}
