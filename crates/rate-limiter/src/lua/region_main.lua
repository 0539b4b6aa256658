-- region_main.lua: reads a region's birth record beside Redis's clock. Writes nothing. Runs by itself.
--
-- KEYS   1 the region's birth record
-- ARGV   none
-- Reply  2 integers: now, ms since 1970 · born_at, ms since 1970, or -1 when there is no readable record
--
-- Worked call:
--   EVALSHA <sha> 1 vtrl1:{eu}:born
--   1771243200000 1771243000000
--
-- Complexity: O(1). Redis calls: TIME, GET.
if #KEYS ~= 1 or #ARGV ~= 0 then
  return redis.error_reply('VTARGS region takes 1 key and no arguments')
end
local time = redis.call('TIME')
return { time[1] * 1000 + math.floor(time[2] / 1000), tonumber(redis.call('GET', KEYS[1])) or -1 }
