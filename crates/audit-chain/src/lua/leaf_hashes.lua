-- Reads the hashes of some entries without their payloads.
-- KEYS: 1 a segment of the audit chain
-- ARGV: 1 place of the first entry in it (integer, from 0)  2 place of the last (integer); at most 1,024 in all
-- Reply: their hashes one behind the other, 32 bytes each; fewer where the segment ends before.
-- Worked: EVAL … 1 vt1:{audit}:seg:0 0 1 -> <64 bytes>
-- Complexity: O(n) in entries, plus where they stand in the segment.
assert(#KEYS == 1 and #ARGV == 2, 'leaf_hashes takes 1 key and 2 arguments')
local first, last = tonumber(ARGV[1]), tonumber(ARGV[2])
assert(first and last and first >= 0 and last - first < 1024, 'at most 1024 entries at once')
local hashes = redis.call('LRANGE', KEYS[1], first, last)
for at = 1, #hashes do hashes[at] = string.sub(hashes[at], 1, 32) end
return table.concat(hashes)
