#!/usr/bin/env bash
# Checks the services together with real programs: nginx in front of them, and Prometheus's promtool.
# shellcheck source-path=SCRIPTDIR source=lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
# shellcheck source-path=SCRIPTDIR source=lib/private_stack.sh
source scripts/lib/private_stack.sh

usage() {
  cat <<'HELP'
Usage: ./scripts/edge_test.sh [--release]

Starts a private Redis and both services on free ports, and an nginx in front of the factory. Nginx uses its
default, HTTP/1.0, towards the factory. Installs nginx and promtool if they are missing. Checks that

  - promtool accepts the metrics of both services
  - an export through nginx arrives complete
  - the client notices a cut export: one with a length (the tags of a batch, cut when the factory stops) and
    one without (the audit chain, cut when Redis stops)

  --release    build and run optimised binaries (default: debug build)
  --help       show this text
HELP
}

parse_profile "$@"
need_rust
need_curl
need nginx nginx nginx nginx nginx nginx
need promtool prometheus prometheus prometheus prometheus prometheus
build_services "$PROFILE"
start_private "$PROFILE"

NGINX_PORT="$(free_port 28180)"
NGINX_URL="http://127.0.0.1:$NGINX_PORT"
# Nginx buffers nothing in files. So a slow client slows the factory, and the test can cut the export.
cat >"$WORK/nginx.conf" <<CONF
daemon off;
pid $WORK/nginx.pid;
error_log $WORK/nginx.log;
events {}
http {
  access_log off;
  client_body_temp_path $WORK/nginx-body;
  proxy_temp_path $WORK/nginx-proxy;
  fastcgi_temp_path $WORK/nginx-fastcgi;
  uwsgi_temp_path $WORK/nginx-uwsgi;
  scgi_temp_path $WORK/nginx-scgi;
  proxy_max_temp_file_size 0;
  server {
    listen 127.0.0.1:$NGINX_PORT;
    location / { proxy_pass $FACTORY_URL; }
  }
}
CONF
nginx -p "$WORK" -e "$WORK/nginx.log" -c "$WORK/nginx.conf" </dev/null >"$WORK/nginx.out" 2>&1 &
stop_all() {
  stop_process "$WORK/nginx.pid" nginx
  stop_private
}
trap stop_all EXIT
until_true 30 answers_200 "$NGINX_URL/v1/ready" ||
  die "nginx did not answer within 30 s: $(tail -n 3 "$WORK/nginx.log" "$WORK/nginx.out")"

fetch() { # path, file, [curl arguments...]
  local path="$1" file="$2"
  shift 2
  curl -sS -m 120 -H "@$AUTH_FILE" -D "$file.head" -o "$file" "$@" "$NGINX_URL$path"
}

length_of() { tr -d '\r' <"$1.head" | sed -n 's/^[Cc]ontent-[Ll]ength: //p'; }
bytes_of() { if [[ -e "$1" ]]; then wc -c <"$1" | tr -d ' '; else printf 0; fi; }
has_begun() { (($(bytes_of "$1") > 1000)); }

# Runs a slow export, cuts it, and fails if curl accepts the received part as complete.
must_notice() { # name, path, rate, command that cuts the export...
  local name="$1" path="$2" rate="$3" status=0 fetching
  shift 3
  fetch "$path" "$WORK/$name" --limit-rate "$rate" 2>"$WORK/$name.err" &
  fetching=$!
  until_true 30 has_begun "$WORK/$name" || die "$name: no data within 30 s"
  "$@"
  wait "$fetching" || status=$?
  ((status != 0)) || die "$name: cut after $(bytes_of "$WORK/$name") bytes, and curl did not notice"
  ((status != 28)) || die "$name: cut, and curl waited until its deadline"
  say "$name: cut after $(bytes_of "$WORK/$name") bytes; curl says: $(tail -n 1 "$WORK/$name.err")"
}

# Each read of the tenants appends an event. Curl repeats the request for each number after the #; it does not
# send that part.
lengthen_audit_chain() {
  curl -sS -m 300 --fail -o "$WORK/tenants" -H "@$AUTH_FILE" "$FACTORY_URL/v1/admin/tenants#[1-4000]" ||
    die "the audit chain could not be lengthened"
}

stop_factory() { kill -TERM "$(<"$WORK/factory-service.pid")"; }

step "Metrics"
for url in "$SCAN_URL" "$FACTORY_URL"; do
  curl -sS -m 10 --fail "$url/metrics" >"$WORK/metrics"
  promtool check metrics <"$WORK/metrics" || die "promtool rejects $url/metrics"
  say "$url/metrics: $(grep -vc '^#' "$WORK/metrics") series"
done

step "Complete exports"
PRODUCT="$(create_product '{"name":"Rain jacket","brand":"Northern"}')"
SMALL="$(create_batch "$PRODUCT" 5000)"
for format in ndjson csv; do
  fetch "/v1/batches/$SMALL/tags?format=$format" "$WORK/whole"
  [[ "$(length_of "$WORK/whole")" == "$(bytes_of "$WORK/whole")" ]] ||
    die "$format: length $(length_of "$WORK/whole"), received $(bytes_of "$WORK/whole") bytes"
  [[ "$(tail -n 1 "$WORK/whole")" == *4999* ]] || die "$format: the last row is not the last tag"
  say "$format: $(bytes_of "$WORK/whole") bytes"
done

step "Cut exports"
lengthen_audit_chain
must_notice chain /v1/admin/audit/export 50k kill_redis
[[ -z "$(length_of "$WORK/chain")" ]] || die "the export of the audit chain has a length"
start_redis
wait_ready "$FACTORY_URL"
LARGE="$(create_batch "$PRODUCT" 2000000)"
must_notice tags "/v1/batches/$LARGE/tags" 2m stop_factory
(($(length_of "$WORK/tags") > $(bytes_of "$WORK/tags"))) ||
  die "the length of the tags' export is not greater than what was received"

step "Summary of edge_test.sh: all passed in $SECONDS s"
