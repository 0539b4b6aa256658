#!/usr/bin/env bash
# What stands around the services, with the real programs: nginx in front of them, and Prometheus's own reader of metrics.
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source-path=SCRIPTDIR source=stack_lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/stack_lib.sh"

usage() {
  cat <<'HELP'
Usage: ./scripts/edge_test.sh [--release]

Starts a private Redis, both services and an nginx in front of the factory on free ports, nginx with its default settings, which speak HTTP/1.0 to
the factory. Exports through nginx: a whole one must arrive whole, and a cut one must fail for the client, with a length (the tags of a batch, cut
when the factory stops) and without (the audit chain, cut when Redis goes away). Then promtool reads the metrics of both services. Installs nginx
and promtool if they are missing.

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
need nginx nginx nginx nginx nginx nginx
need promtool prometheus prometheus prometheus prometheus prometheus
if [[ "$BUILT" == release ]]; then build_optimised; else cargo build --locked --bin scan-service --bin factory-service; fi
start_private "$BUILT"

# ---- nginx ----

NGINX_PORT="$(free_port 28180)"
NGINX_URL="http://127.0.0.1:$NGINX_PORT"
# Only paths, and that nothing is kept in files: a slow client slows the factory, so that there is something left to cut.
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
until_true 30 answers_200 "$NGINX_URL/v1/ready" || die "nginx did not answer within 30 s: $(tail -n 3 "$WORK/nginx.log" "$WORK/nginx.out")"

fetch() { # path, file, [curl arguments...]
  local path="$1" file="$2"
  shift 2
  curl -sS -m 120 -H "@$WORK/auth.header" -D "$file.head" -o "$file" "$@" "$NGINX_URL$path"
}

length_of() { tr -d '\r' <"$1.head" | sed -n 's/^[Cc]ontent-[Ll]ength: //p'; }
bytes_of() { if [[ -e "$1" ]]; then wc -c <"$1" | tr -d ' '; else printf 0; fi; }
has_begun() { (($(bytes_of "$1") > 1000)); }

# Runs an export slowly, cuts it, and fails if curl takes what came for the whole.
must_notice() { # name, path, rate, command that cuts it...
  local name="$1" path="$2" rate="$3" status=0 fetching
  shift 3
  fetch "$path" "$WORK/$name" --limit-rate "$rate" 2>"$WORK/$name.err" &
  fetching=$!
  until_true 30 has_begun "$WORK/$name" || die "$name: nothing came within 30 s"
  "$@"
  wait "$fetching" || status=$?
  ((status != 0)) || die "$name: was cut after $(bytes_of "$WORK/$name") bytes, and curl did not notice"
  ((status != 28)) || die "$name: was cut, and curl waited until its own deadline"
  say "$name: cut after $(bytes_of "$WORK/$name") bytes; curl says: $(tail -n 1 "$WORK/$name.err")"
}

batch() { # size
  factory POST /v1/batches "{\"product_id\":\"$PRODUCT\",\"size\":$1}" | json_string id
}

# Each read of the tenants is an event of the chain. What follows # is not sent; curl counts by it.
lengthen_chain() {
  curl -sS -m 300 --fail -o "$WORK/tenants" -H "@$WORK/auth.header" "$FACTORY_URL/v1/admin/tenants#[1-4000]" || die "the chain could not be made longer"
}

kill_redis() {
  local pid
  pid="$(<"$WORK/redis.pid")"
  kill -KILL "$pid"
  wait "$pid" 2>/dev/null || true
}
stop_factory() { kill -TERM "$(<"$WORK/factory-service.pid")"; }

step "Metrics, as promtool reads them"
for url in "$SCAN_URL" "$FACTORY_URL"; do
  curl -sS -m 10 --fail "$url/metrics" >"$WORK/metrics"
  promtool check metrics <"$WORK/metrics" || die "promtool found fault with $url/metrics"
  say "$url/metrics: $(grep -vc '^#' "$WORK/metrics") series"
done

step "A whole export"
PRODUCT="$(factory POST /v1/products '{"name":"Rain jacket","brand":"Northern"}' | json_string id)"
SMALL="$(batch 5000)"
for format in ndjson csv; do
  fetch "/v1/batches/$SMALL/tags?format=$format" "$WORK/whole"
  [[ "$(length_of "$WORK/whole")" == "$(bytes_of "$WORK/whole")" ]] || die "$format: length $(length_of "$WORK/whole"), bytes $(bytes_of "$WORK/whole")"
  [[ "$(tail -n 1 "$WORK/whole")" == *4999* ]] || die "$format: the last row is not the last tag"
  say "$format: $(bytes_of "$WORK/whole") bytes"
done

step "Exports that are cut"
lengthen_chain
must_notice chain /v1/admin/audit/export 50k kill_redis
[[ -z "$(length_of "$WORK/chain")" ]] || die "the chain's export is meant to have no length here"
# The private Redis keeps its file; it comes back for the next export.
(
  cd "$WORK" || exit
  exec "$REDIS_SERVER" --port "${REDIS_URL##*:}" --bind 127.0.0.1 --dir . --save '' --appendonly yes --appendfsync everysec \
    --maxmemory-policy noeviction >>redis.log 2>&1 </dev/null
) &
echo $! >"$WORK/redis.pid"
until_true 60 answers_200 "$FACTORY_URL/v1/ready" || die "the factory was not ready again within 60 s"
LARGE="$(batch 2000000)"
must_notice tags "/v1/batches/$LARGE/tags" 2m stop_factory
(($(length_of "$WORK/tags") > $(bytes_of "$WORK/tags"))) || die "the length of the tags' export is not beyond what came"
say "all as it should be"
