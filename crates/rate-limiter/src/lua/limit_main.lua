-- limit_main.lua: one decision over several dimensions, by itself. Runs behind limiter.lua.
--
-- KEYS   1 the region's birth record · 2 .. n+1 the caller's state in each dimension
-- ARGV   1 n, dimensions, 1..8 · 2 cold_ms, length of the cold phase, ms
--        3 created_ms, when the deployment was created (ms since 1970, 0: not
--        known) · then n times: limit, cold_limit (units per 60 s)
-- Reply  6 + 5n integers: see limiter_decide
--
-- Worked call, a new region, one dimension of 100 a minute, 50 while cold:
--   EVALSHA <sha> 2 vtrl1:{eu}:born vtrl1:{eu}:ip:192.0.2.1  1 300000 1771243000000 100 50
--   1 0 1771243200000 1771243200000 3 1   1 50 49 60000 1771243200000
--
-- Complexity: O(n) when allowed, O(32 n) when denied. Redis calls: TIME, MGET, and n SET when allowed.
local n = tonumber(ARGV[1])
if not n or n < 1 or n > 8 or #KEYS ~= n + 1 or #ARGV ~= 3 + 2 * n then
  return redis.error_reply('VTARGS limit takes n + 1 keys and 3 + 2n arguments, n in 1..8')
end
local now = limiter_now()
local decision = limiter_decide(now, redis.call('MGET', unpack(KEYS)), 1, ARGV, 1)
limiter_commit(decision, KEYS)
return decision.reply
