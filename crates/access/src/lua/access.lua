-- access.lua: API keys as Lua functions, to be put in front of a main that authenticates, by itself or among other things.
--
-- What a key holds
--   vt1:k:<id>      an API key: >I4 revision · 32 bytes digest · B scopes · I6 valid_until (ms since 1970, 0 revoked) · B length of the
--                   tenant's id · the tenant's id · JSON
--   vt1:tn:<tenant> a tenant: B state (1 active, 0 suspended) · more. Tenant "default" has none and is always active.
--
-- Comparing digests with == tells an attacker nothing: they are SHA-256 of a whole key, which nobody can steer towards another's,
-- and Lua compares interned strings by their address.

local ACCESS_OK, ACCESS_INVALID, ACCESS_SUSPENDED, ACCESS_DAMAGED, ACCESS_TENANT_GONE = 0, 1, 2, 4, 5
-- The bit of the scope scan:partner.
local ACCESS_SCAN_PARTNER = 8

-- access_has(scopes, scope): whether `scopes` (bits) hold the one bit `scope`.
-- Worked: access_has(24, ACCESS_SCAN_PARTNER) -> true; access_has(16, ACCESS_SCAN_PARTNER) -> false
local function access_has(scopes, scope)
  return math.floor(scopes / scope) % 2 == 1
end

-- access_verify(now, record, digest) -> status, tenant, scopes
--   now      ms by Redis's clock
--   record   the key's stored string, or false
--   digest   SHA-256 of the key that was shown, 32 bytes
-- status 0: verified; 1: unknown, another secret, expired or revoked; 2: its tenant is suspended; 4: the tenant's record is of another
-- type; 5: the tenant's record, which was written before the key's, is gone or says neither. Neither of these must fail what else the
-- script was asked. The tenant's id and the scopes (bits) are ''
-- and 0 but for status 0.
-- Worked: access_verify(1771243200000, <record of tenant acme, scope scan:partner>, <its digest>) -> 0, 'acme', 8
-- Redis calls: GETRANGE, none for tenant "default". The tenant's key follows from the record, so it is not among KEYS. Complexity: O(1).
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
