-- renew.lua: renews the lease of a claim and the record's time to live, if this claim still holds.
--
-- KEYS   1 record · 2 index of the tenant's records
-- ARGV   1 fence of the claim (25 bytes) · 2 lease (ms) · 3 time to live (ms)
--        4 the record's name in the index
-- Reply  1 renewed · 2 this claim is completed · 0 the claim was taken over, expired or released
-- Worked: EVALSHA <sha> 2 vt1:i:acme:<43> vt1:ix:acme  <25> 10000 86400000 <43>  -> 1
-- Complexity: O(log(records of the tenant)).
assert(#KEYS == 2 and #ARGV == 4 and #ARGV[1] == 25, 'renew takes 2 keys and 4 arguments')
local lease, ttl = tonumber(ARGV[2]), tonumber(ARGV[3])
assert(lease and ttl, 'renew: lease or time to live is not a number')
local held = redis.call('GETRANGE', KEYS[1], 0, 24)
if held ~= ARGV[1] then
  return held == 'D' .. string.sub(ARGV[1], 2) and 2 or 0
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('SETRANGE', KEYS[1], 57, struct.pack('>I6', now + lease))
redis.call('PEXPIRE', KEYS[1], ttl)
redis.call('ZADD', KEYS[2], now + lease + ttl, ARGV[4])
redis.call('PEXPIRE', KEYS[2], lease + ttl)
return 1
