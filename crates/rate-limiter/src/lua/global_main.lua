-- global_main.lua: one decision over several dimensions with neither birth record nor cold phase. Runs behind
-- limiter.lua.
--
-- KEYS   1 .. n the caller's state in each dimension, n in 1..8
-- ARGV   1 .. n the limit of each dimension (units per 60 s)
-- Reply  6 + 5n integers: those of limiter_decide, born_at 0
--
-- Worked call, 200 a minute:
--   EVALSHA <sha> 1 vtgl1:ip:192.0.2.1  200
--   1 0 0 1771243200000 0 1   1 200 199 60000 1771243200000
--
-- Complexity: O(n) when allowed, O(32 n) when denied. Redis calls: TIME, MGET, and n SET when allowed.
local n = #KEYS
if n < 1 or n > 8 or #ARGV ~= n then
  return redis.error_reply('VTARGS global takes n keys and n arguments, n in 1..8')
end
local found = redis.call('MGET', unpack(KEYS))
local keys, values, args = { false }, { false }, { n, -1, 0 }
for i = 1, n do
  keys[1 + i], values[1 + i] = KEYS[i], found[i]
  args[#args + 1] = ARGV[i]
  args[#args + 1] = ARGV[i]
end
local decision = limiter_decide(limiter_now(), values, 1, args, 1)
limiter_commit(decision, keys)
return decision.reply
