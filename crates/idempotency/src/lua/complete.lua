-- complete.lua: keeps the answer of a request that had no effect, if the claim is still this one. (With an effect, the script that
-- writes the effect does it.)
--
-- KEYS   1 record
-- ARGV   1 what the claim begins with (25 bytes) · 2 the record to be · 3 time to live (ms)
-- Reply  1 kept, 0 the claim is another's, gone or completed
-- Worked: EVALSHA <sha> 1 vt1:i:acme:<43>  <25> <record> 86400000  -> 1
-- Complexity: O(1).
assert(#KEYS == 1 and #ARGV == 3 and #ARGV[1] == 25, 'complete takes 1 key and 3 arguments')
if redis.call('GETRANGE', KEYS[1], 0, 24) ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
