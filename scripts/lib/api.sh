# shellcheck shell=bash
# Calls to the factory's API, and the little JSON that the scripts read.
# The caller sets FACTORY_URL and AUTH_FILE, a file that holds the Authorization header.

# Sends one request and prints the response's body. Fails on a status of 400 or above.
factory() { # method, path, [JSON body]
  local body=()
  if [[ -n "${3:-}" ]]; then body=(-H 'content-type: application/json' --data "$3"); fi
  # Curl reads the key from a file, so that no process list shows it.
  curl -sS -m 60 --fail-with-body -X "$1" -H "@$AUTH_FILE" "${body[@]}" "$FACTORY_URL$2"
}

# Prints the new product's id.
create_product() { create /v1/products "$1"; } # JSON

# Prints the new batch's id.
create_batch() { # product id, size, [further JSON members, with a leading comma]
  create /v1/batches "{\"product_id\":\"$1\",\"size\":$2${3:-}}"
}

create() { # path, JSON
  local response
  response="$(factory POST "$1" "$2")" || die "POST $1 failed: $response"
  json_string id <<<"$response"
}

# Prints the first string member of that name in the JSON on standard input.
json_string() {
  grep -oE "\"$1\"[[:space:]]*:[[:space:]]*\"[^\"]*\"" | sed -n '1s/.*:[[:space:]]*"\(.*\)"$/\1/p'
}

# Prints the first number, boolean or null of that name in the JSON on standard input.
json_scalar() {
  grep -oE "\"$1\"[[:space:]]*:[[:space:]]*[-+.0-9a-z]+" | sed -n '1s/.*:[[:space:]]*//p'
}

# Prints random bytes as hex.
random_hex() { # bytes
  od -An -N "$1" -tx1 /dev/urandom | tr -d ' \n'
}
