-- Takes the next batch number; they follow each other and begin anew at 0 after 2^24-1.
-- KEYS: 1 deployment record  2 number of the next batch
-- ARGV: 1 the beginning of the deployment record this process has seen
-- Reply: the number (integer), or -1 when the deployment is not that one or its counter is lost.
-- Worked: EVAL … 2 vt1:deployment vt1:next-batch '{"id":"ab"' -> 4711, then 4712
-- Complexity: O(1).
assert(#KEYS == 2 and #ARGV == 1, 'take_batch_no takes 2 keys and 1 argument')
local standing = redis.call('MGET', KEYS[1], KEYS[2])
if not standing[1] or string.sub(standing[1], 1, #ARGV[1]) ~= ARGV[1] or not standing[2] then return -1 end
local number = tonumber(standing[2])
redis.call('SET', KEYS[2], (number + 1) % 16777216)
return number
