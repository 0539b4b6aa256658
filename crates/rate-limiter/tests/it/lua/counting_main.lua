-- counting_main.lua: limits and counts in one round trip, as an example of a script that begins with
-- limiter.lua. For tests.
--
-- KEYS   1 a counter · then the limiter's keys
-- ARGV   1 by how much to raise the counter · then the limiter's arguments
-- Reply  the limiter's integers, then 1: the counter (not raised when denied)
--
-- Worked call: EVALSHA <sha> 3 counter born ip  1  1 300000 100 50
-- Complexity: O(1).
local values = redis.call('MGET', unpack(KEYS))
local decision = limiter_decide(limiter_now(), values, 2, ARGV, 2)
if decision.next_key ~= #KEYS + 1 or decision.next_arg ~= #ARGV + 1 then
  return redis.error_reply('VTARGS the limiter does not end where it should')
end
limiter_commit(decision, KEYS)
local count = tonumber(values[1] or 0)
if decision.allowed then
  count = redis.call('INCRBY', KEYS[1], ARGV[1])
end
local reply = decision.reply
reply[#reply + 1] = count
return reply
