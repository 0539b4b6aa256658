-- Reads which instances live and what each of them holds.
-- KEYS: 1 instances that live  2 how many have come
-- ARGV: 1 what the id of an instance is put behind to have the key of its record
-- Reply: {how many have come or '', record of an instance, …}
-- Worked: EVAL … 2 vt1:live vt1:live-seq vt1:live: -> {'2', '{"service":"scan-service",…}', '{"service":"factory-service",…}'}
-- Complexity: O(n) in instances.
assert(#KEYS == 2 and #ARGV == 1, 'live takes 2 keys and 1 argument')
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local reply = {redis.call('GET', KEYS[2]) or ''}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. string.format('%d', now), '+inf')) do
  local record = redis.call('GET', ARGV[1] .. id)
  if record then reply[#reply + 1] = record end
end
return reply
