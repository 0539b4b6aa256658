-- An instance that stops takes its leave, so that no move waits for it.
-- KEYS: 1 instances that live  2 this instance's record
-- ARGV: 1 its id
-- Reply: 1 it was there, 0 it was not
-- Worked: EVAL … 2 vt1:live vt1:live:0190… 0190…  -> 1
-- Complexity: O(log n) in instances.
assert(#KEYS == 2 and #ARGV == 1, 'leave takes 2 keys and 1 argument')
redis.call('DEL', KEYS[2])
return redis.call('ZREM', KEYS[1], ARGV[1])
