-- claim.lua: claims a request for execution, or returns why it cannot be claimed.
-- The layout of the record is in record.rs.
--
-- KEYS   1 record · 2 index of the tenant's records · 3 deployment record
-- ARGV   1 required prefix of the deployment record · 2 fingerprint (32 bytes) · 3 seed (16 bytes)
--        4 origin (JSON) · 5 lease (ms) · 6 time to live (ms) · 7 most records of a tenant (integer)
--        8 the record's name in the index
-- Reply  {0, token, created, seed, origin} claimed. After a takeover, created (Unix ms), seed and origin are
--        those of the first try.
--        {1, record} completed, the record holds the response · {2} the key was used for a different request
--        {3, ms} in flight, its lease ends in that many ms
--        {4, ms} too many records, the oldest one ends in that many ms
--        {5} the deployment record is missing or different · {6} the stored value is not such a record
-- Worked: EVALSHA <sha> 3 vt1:i:acme:<43> vt1:ix:acme vt1:deployment
--         '{"id":"ab"' <32> <16> '{"actor":"key/x","request_id":"r"}' 10000 86400000 100000 <43>
--         -> {0, 1, 1771243200000, <16>, '{"actor":"key/x","request_id":"r"}'}
-- Redis calls: MGET, GET, TIME, and to claim SET, ZADD, PEXPIRE and at most four more on the index.
-- Complexity: O(log(records of the tenant)). Each claim of a new key removes at most 100 expired names from
-- the index, so that one call stays short however many records expire at once.
assert(#KEYS == 3 and #ARGV == 8, 'claim takes 3 keys and 8 arguments')
local lease, ttl, most = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
assert(#ARGV[2] == 32 and #ARGV[3] == 16 and lease and ttl and most, 'claim: wrong argument length or type')
local MAX_REMOVED = 100
local deployment = redis.call('MGET', KEYS[3])[1]
if not deployment or string.sub(deployment, 1, #ARGV[1]) ~= ARGV[1] then
  return { 5 }
end
local record = redis.call('GET', KEYS[1])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local token, created, seed, origin = 1, now, ARGV[3], ARGV[4]
if record then
  local kind = string.sub(record, 1, 1)
  if not (kind == 'C' and #record >= 69 or kind == 'D' and #record >= 57) then
    return { 6 }
  end
  if string.sub(record, 26, 57) ~= ARGV[2] then
    return { 2 }
  end
  if kind == 'D' then
    return { 1, record }
  end
  local lease_until
  lease_until, created = struct.unpack('>I6I6', string.sub(record, 58, 69))
  if now < lease_until then
    return { 3, lease_until - now }
  end
  token = struct.unpack('>I8', string.sub(record, 2, 9)) + 1
  seed, origin = string.sub(record, 10, 25), string.sub(record, 70)
else
  local ended = redis.call('ZCOUNT', KEYS[2], '-inf', now)
  local active = redis.call('ZCARD', KEYS[2]) - ended
  if active >= most then
    local oldest = redis.call('ZRANGE', KEYS[2], ended, ended, 'WITHSCORES')
    return { 4, oldest[2] and tonumber(oldest[2]) - now or lease }
  end
  if ended > 0 then
    redis.call('ZREMRANGEBYRANK', KEYS[2], 0, math.min(ended, MAX_REMOVED) - 1)
  end
end
local fence = struct.pack('>BI8', 67, token) .. seed
local times = struct.pack('>I6I6', now + lease, created)
redis.call('SET', KEYS[1], fence .. ARGV[2] .. times .. origin, 'PX', ttl)
redis.call('ZADD', KEYS[2], now + lease + ttl, ARGV[8])
redis.call('PEXPIRE', KEYS[2], lease + ttl)
return { 0, token, created, seed, origin }
