-- global_main.lua: one decision over one dimension with neither birth record nor cold phase. Runs behind limiter.lua.
--
-- KEYS   1 the caller's state
-- ARGV   1 limit (units per 60 s)
-- Reply  11 integers: those of limiter_decide for n = 1, born_at 0
--
-- Worked call, 200 a minute:
--   EVALSHA <sha> 1 vtgl1:ip:192.0.2.1  200
--   1 0 0 1771243200000 0 1   1 200 199 60000 1771243200000
--
-- Complexity: O(1) when allowed, O(32) when denied. Redis calls: TIME, GET, and SET when allowed.
if #KEYS ~= 1 or #ARGV ~= 1 then
  return redis.error_reply('VTARGS global takes 1 key and 1 argument')
end
local keys = { false, KEYS[1] }
local values = { false, redis.call('GET', KEYS[1]) }
local decision = limiter_decide(limiter_now(), values, 1, { 1, -1, 0, ARGV[1], ARGV[1] }, 1)
limiter_commit(decision, keys)
return decision.reply
