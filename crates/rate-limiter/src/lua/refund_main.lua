-- refund_main.lua: gives back the units one allowed decision counted. Runs behind limiter.lua.
--
-- KEYS   1 .. n the caller's state in each dimension, n in 1..8
-- ARGV   1 .. n the stamp (ms since 1970) of the group each unit was counted in, as the decision replied it
-- Reply  1 integer: units given back. Less than n if a group has left its window, which needs no refund.
--
-- Worked call:
--   EVALSHA <sha> 1 vtrl1:{eu}:ip:192.0.2.1  1771243200000
--   1
--
-- Complexity: O(32 n). Redis calls: MGET, and a SET or DEL for each unit given back.
local n = #KEYS
if n < 1 or n > 8 or #ARGV ~= n then
  return redis.error_reply('VTARGS refund takes n keys and n arguments, n in 1..8')
end
local values = redis.call('MGET', unpack(KEYS))
local refunded = 0
for i = 1, n do
  local less = limiter_less_one(values[i], tonumber(ARGV[i]))
  if less == '' then
    redis.call('DEL', KEYS[i])
  elseif less then
    redis.call('SET', KEYS[i], less, 'KEEPTTL')
  end
  refunded = refunded + (less and 1 or 0)
end
return refunded
