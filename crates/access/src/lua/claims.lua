-- claims.lua: reads which tenants own the given brands and GTIN ranges. Writes nothing.
--
-- KEYS   1 revision of the claims · 2 brands · 3 GTIN prefixes
-- ARGV   1 n, number of brand skeletons (integer) · then n skeletons (strings)
--        then per GTIN range: first, last (twelve-digit integers)
-- Reply  {revision, owners, members}
--        revision: string, '' if nothing was ever claimed
--        owners: per skeleton the tenant that owns it, or ''
--        members: '<prefix>:<tenant>' of all prefixes that may overlap a range, possibly repeated
--        Claimed ranges never overlap each other. So a claim that overlaps a range begins in it, or is the
--        last claim that begins before it. A tenant has at most 50 prefixes, so 51 that begin in a range
--        belong to several tenants.
-- Example: EVALSHA <sha> 3 vt1:cl vt1:clb vt1:clp  1 acrne 400638133393 400638133393
--          -> {'7', {'acme'}, {'4006381:acme'}}
-- Redis calls: GET, one HMGET, two range queries per range.
-- Complexity: O(skeletons + ranges * log(prefixes)).
local n = tonumber(ARGV[1])
assert(#KEYS == 3 and n and n >= 0 and (#ARGV - 1 - n) % 2 == 0, 'claims takes 3 keys, brands and pairs')
local owners, members = {}, {}
if n > 0 then
  local found = redis.call('HMGET', KEYS[2], unpack(ARGV, 2, 1 + n))
  for i = 1, n do owners[i] = found[i] or '' end
end
for at = 2 + n, #ARGV, 2 do
  local inside = redis.call('ZRANGEBYSCORE', KEYS[3], ARGV[at], ARGV[at + 1], 'LIMIT', 0, 51)
  local before = redis.call('ZREVRANGEBYSCORE', KEYS[3], '(' .. ARGV[at], 0, 'LIMIT', 0, 1)
  for _, member in ipairs(inside) do members[#members + 1] = member end
  for _, member in ipairs(before) do members[#members + 1] = member end
end
return { redis.call('GET', KEYS[1]) or '', owners, members }
