-- complete.lua: stores the response of a request without an effect, if this claim still holds. The response
-- of a request with an effect is written by the script that writes the effect.
--
-- KEYS   1 record
-- ARGV   1 fence of the claim (25 bytes) · 2 new record · 3 time to live (ms)
-- Reply  1 stored · 0 the claim was taken over, expired, released or completed
-- Worked: EVALSHA <sha> 1 vt1:i:acme:<43>  <25> <record> 86400000  -> 1
-- Complexity: O(1).
assert(#KEYS == 1 and #ARGV == 3 and #ARGV[1] == 25, 'complete takes 1 key and 3 arguments')
if redis.call('GETRANGE', KEYS[1], 0, 24) ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
