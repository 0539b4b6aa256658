-- access.lua: functions that verify API keys. Rust puts them in front of a script that authenticates, alone
-- or as one of several steps.
--
-- Stored records
--   vt1:k:<id>      API key: >I4 revision · 32 bytes digest · B scopes · I6 valid_until (Unix ms, 0 if
--                   revoked) · B length of the tenant's id · tenant's id · JSON
--   vt1:tn:<tenant> tenant: B state (1 active, 0 suspended) · more. Tenant "default" needs no record and is
--                   always active.
--
-- Comparing digests with == leaks nothing useful: a digest is SHA-256 of the whole key, so an attacker cannot
-- choose its bytes, and Lua compares interned strings by address.

local ACCESS_OK, ACCESS_INVALID, ACCESS_SUSPENDED, ACCESS_DAMAGED, ACCESS_TENANT_GONE = 0, 1, 2, 4, 5
-- The bit of the scope scan:partner.
local ACCESS_SCAN_PARTNER = 8

-- access_has(scopes, scope) -> boolean: whether `scopes` (bits) contain the single bit `scope`.
-- Example: access_has(24, ACCESS_SCAN_PARTNER) -> true; access_has(16, ACCESS_SCAN_PARTNER) -> false
local function access_has(scopes, scope)
  return math.floor(scopes / scope) % 2 == 1
end

-- access_verify(now, record, digest) -> status, tenant, scopes
--   now      Unix ms by the clock of Redis
--   record   stored record of the key (string), or false if there is none
--   digest   SHA-256 of the presented key (32 bytes)
--   status   0 verified
--            1 unknown, wrong secret, expired or revoked
--            2 tenant suspended
--            4 tenant record has another type
--            5 tenant record missing, although it was written before the key's, or its state is neither 0
--              nor 1
--   tenant   tenant id, '' unless status is 0
--   scopes   scopes (bits, integer), 0 unless status is 0
-- Statuses 4 and 5 are not errors, so the other steps of the script still run. Example:
-- access_verify(1771243200000, <record of tenant acme, scope scan:partner>, <its digest>) -> 0, 'acme', 8
-- Redis calls: GETRANGE, none for tenant "default". The name of the tenant's key comes from the record, so it
-- is not in KEYS. Complexity: O(1).
local function access_verify(now, record, digest)
  if not record or #record < 45 or string.sub(record, 5, 36) ~= digest then
    return ACCESS_INVALID, '', 0
  end
  local scopes, valid_until, length = struct.unpack('>BI6B', record, 37)
  if now >= valid_until then
    return ACCESS_INVALID, '', 0
  end
  local tenant = string.sub(record, 45, 44 + length)
  if tenant ~= 'default' then
    local state = redis.pcall('GETRANGE', 'vt1:tn:' .. tenant, 0, 0)
    if type(state) == 'table' then
      return ACCESS_DAMAGED, '', 0
    elseif state == '\0' then
      return ACCESS_SUSPENDED, '', 0
    elseif state ~= '\1' then
      return ACCESS_TENANT_GONE, '', 0
    end
  end
  return ACCESS_OK, tenant, scopes
end
