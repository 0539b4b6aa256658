-- live.lua: returns the records of all live instances. Writes nothing.
--
-- KEYS   1 live instances (sorted set) · 2 registration counter
-- ARGV   1 key prefix of instance records (string)
-- Reply  {counter or '', record of an instance, …}
-- Worked: EVALSHA <sha> 2 vt1:live vt1:live-seq  vt1:live:
--         -> {'2', '{"service":"scan-service",…}', '{"service":"factory-service",…}'}
-- Complexity: O(n) in live instances.
assert(#KEYS == 2 and #ARGV == 1, 'live takes 2 keys and 1 argument')
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local reply = {redis.call('GET', KEYS[2]) or ''}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. string.format('%d', now), '+inf')) do
  local record = redis.call('GET', ARGV[1] .. id)
  if record then reply[#reply + 1] = record end
end
return reply
