-- stepped_main.lua: many decisions in one call, at instants the caller chooses. For tests; runs behind
-- limiter.lua.
--
-- KEYS   1 the region's birth record · 2 .. n+1 the caller's state in each dimension
-- ARGV   1 n · 2 cold_ms · 3 created_ms · then n times: limit, cold_limit
--        then any number of instants, ms since 1970
-- Reply  for each instant the 6 + 5n integers of limiter_decide, one after the other
--
-- Worked call: EVALSHA <sha> 2 born ip  1 300000 100 50  1000000 1000007
-- Complexity: O(32 n) for each instant.
local after = 3 + 2 * tonumber(ARGV[1])
local all = {}
for i = after + 1, #ARGV do
  local decision = limiter_decide(tonumber(ARGV[i]), redis.call('MGET', unpack(KEYS)), 1, ARGV, 1)
  limiter_commit(decision, KEYS)
  for _, int in ipairs(decision.reply) do
    all[#all + 1] = int
  end
end
return all
