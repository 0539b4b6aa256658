-- add_unproven_report.lua: adds a report of an unproven code to the list, and removes the oldest reports if
-- they are too old or too many.
--
-- KEYS   1 deployment record
--        2 list of reports (sorted set, all scores 0, members `<uuid v7><JSON>`, so in order of time)
-- ARGV   1 prefix of the deployment record that this process has seen (string) · 2 new member (string)
--        3 number of members to keep (integer) · 4 time to keep a member (ms, integer)
-- Reply  1 added · -1 another deployment
-- Worked: EVALSHA <sha> 2 vt1:deployment vt1:ur
--         '{"id":"ab"' '019c…{"id":"019c…","code":"abc"…}' 1000 2592000000  -> 1
-- Complexity: O(log n + members removed).
assert(#KEYS == 2 and #ARGV == 4, 'add_unproven_report takes 2 keys and 4 arguments')
local deployment = redis.call('GET', KEYS[1])
if not deployment or string.sub(deployment, 1, #ARGV[1]) ~= ARGV[1] then return -1 end
local most, keep = tonumber(ARGV[3]), tonumber(ARGV[4])
-- Uses the clock of Redis, so that a process with a wrong clock cannot drop the reports of others.
local time = redis.call('TIME')
local oldest = string.format('%012x', time[1] * 1000 + math.floor(time[2] / 1000) - keep)
redis.call('ZADD', KEYS[2], 0, ARGV[2])
redis.call('ZREMRANGEBYLEX', KEYS[2], '-', '(' .. string.sub(oldest, 1, 8) .. '-' .. string.sub(oldest, 9))
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -(most + 1))
redis.call('PEXPIRE', KEYS[2], keep)
return 1
