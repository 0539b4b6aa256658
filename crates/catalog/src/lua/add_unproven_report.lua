-- Adds a report of a code that is not ours to the list of such reports, and drops what is too old or too much.
-- KEYS: 1 deployment record  2 the list: a sorted set, all of score 0, of `<uuid v7><JSON>`, so that its order is that of time
-- ARGV: 1 the beginning of the deployment record this process has seen  2 the new member  3 how many stay at most  4 for how long (ms)
-- Reply: 1, or -1 when the deployment is not that one.
-- Worked: EVAL … 2 vt1:deployment vt1:ur '{"id":"ab"' '019c…{"id":"019c…","code":"abc"…}' 1000 2592000000 -> 1
-- Complexity: O(log n + what is dropped).
assert(#KEYS == 2 and #ARGV == 4, 'add_unproven_report takes 2 keys and 4 arguments')
local standing = redis.call('GET', KEYS[1])
if not standing or string.sub(standing, 1, #ARGV[1]) ~= ARGV[1] then return -1 end
local most, keep = tonumber(ARGV[3]), tonumber(ARGV[4])
-- By Redis's own clock: one process with a wrong one cannot drop what others wrote.
local time = redis.call('TIME')
local oldest = string.format('%012x', time[1] * 1000 + math.floor(time[2] / 1000) - keep)
redis.call('ZADD', KEYS[2], 0, ARGV[2])
redis.call('ZREMRANGEBYLEX', KEYS[2], '-', '(' .. string.sub(oldest, 1, 8) .. '-' .. string.sub(oldest, 9))
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -(most + 1))
redis.call('PEXPIRE', KEYS[2], keep)
return 1
