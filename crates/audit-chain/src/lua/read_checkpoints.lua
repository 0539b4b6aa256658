-- read_checkpoints.lua: reads the cached compact range and the latest signed note of each key, as of one
-- moment.
--
-- KEYS[1]  range   string, see store_checkpoint.lua
-- KEYS[2]  notes   hash, number of a key -> its latest signed note
-- ARGV   none
-- Reply: {range or nil, {number, note, number, note, ..}}
-- Call: EVALSHA .. 2 vt1:{audit}:range vt1:{audit}:notes -> {<48 bytes>, {'1', 'origin…'}}
-- Complexity: O(keys that have signed).
assert(#KEYS == 2 and #ARGV == 0, 'read_checkpoints takes 2 keys')
return { redis.call('GET', KEYS[1]), redis.call('HGETALL', KEYS[2]) }
