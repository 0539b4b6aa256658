-- Reads the Merkle tree's edge, and the latest signed note of each key, as of one moment.
-- KEYS: 1 edge  2 notes
-- ARGV: none
-- Reply: {edge or nil, {number, note, number, note, ..}}
-- Worked: EVAL … 2 vt1:{audit}:range vt1:{audit}:notes -> {<48 bytes>, {'1', 'origin…'}}
-- Complexity: O(keys that ever signed).
assert(#KEYS == 2 and #ARGV == 0, 'read_checkpoints takes 2 keys')
return { redis.call('GET', KEYS[1]), redis.call('HGETALL', KEYS[2]) }
