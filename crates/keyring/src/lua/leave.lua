-- leave.lua: deregisters an instance that stops, so that no move waits for it.
--
-- KEYS   1 live instances (sorted set) · 2 record of this instance
-- ARGV   1 instance id (string)
-- Reply  1 it was registered · 0 it was not
-- Worked: EVALSHA <sha> 2 vt1:live vt1:live:0190…  0190…  -> 1
-- Complexity: O(log n) in live instances.
assert(#KEYS == 2 and #ARGV == 1, 'leave takes 2 keys and 1 argument')
redis.call('DEL', KEYS[2])
return redis.call('ZREM', KEYS[1], ARGV[1])
