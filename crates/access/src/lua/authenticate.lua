-- authenticate.lua: authenticates one API key. Needs access.lua in front of it. Writes nothing.
--
-- KEYS   1 record of the key · 2 deployment record
-- ARGV   1 SHA-256 of the presented key (32 bytes)
--        2 prefix of the deployment record that this process has seen (string)
-- Reply  {status, scopes, tenant}: status 0 verified, 1 invalid, 2 tenant suspended, 3 another deployment,
--        4 tenant record of another type, 5 tenant record missing · scopes (bits, integer) · tenant id
--        scopes and tenant are 0 and '' unless status is 0
-- Example: EVALSHA <sha> 2 vt1:k:0123abcd vt1:deployment  <32 bytes> '{"id":"ab"'  -> {0, 8, 'acme'}
-- Redis calls: TIME, MGET, GETRANGE. Complexity: O(1).
assert(#KEYS == 2 and #ARGV == 2, 'authenticate takes 2 keys and 2 arguments')
local time = redis.call('TIME')
local found = redis.call('MGET', KEYS[1], KEYS[2])
if not found[2] or string.sub(found[2], 1, #ARGV[2]) ~= ARGV[2] then
  return { 3, 0, '' }
end
local status, tenant, scopes = access_verify(time[1] * 1000 + math.floor(time[2] / 1000), found[1], ARGV[1])
return { status, scopes, tenant }
