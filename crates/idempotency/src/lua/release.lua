-- release.lua: deletes the record of a claim, if this claim still holds.
--
-- KEYS   1 record · 2 index of the tenant's records
-- ARGV   1 fence of the claim (25 bytes) · 2 the record's name in the index
-- Reply  1 released · 0 the claim was taken over, expired, released or completed
-- Worked: EVALSHA <sha> 2 vt1:i:acme:<43> vt1:ix:acme  <25> <43>  -> 1
-- Complexity: O(log(records of the tenant)).
assert(#KEYS == 2 and #ARGV == 2 and #ARGV[1] == 25, 'release takes 2 keys and 2 arguments')
if redis.call('GETRANGE', KEYS[1], 0, 24) ~= ARGV[1] then
  return 0
end
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[2])
return 1
