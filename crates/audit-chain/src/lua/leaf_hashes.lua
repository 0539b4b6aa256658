-- leaf_hashes.lua: reads the hashes of entries without their payloads.
--
-- KEYS[1]  segment   list, a segment of the chain
-- ARGV[1]  first     integer, index of the first entry in the segment, from 0
-- ARGV[2]  last      integer, index of the last entry; at most 1,024 entries in all
-- Reply: the hashes, concatenated, 32 bytes each; fewer if the segment ends earlier
-- Call: EVALSHA .. 1 vt1:{audit}:seg:0 0 1 -> <64 bytes>
-- Complexity: O(entries, and the steps to the first one in the segment).
assert(#KEYS == 1 and #ARGV == 2, 'leaf_hashes takes 1 key and 2 arguments')
local first, last = tonumber(ARGV[1]), tonumber(ARGV[2])
assert(first and last and first >= 0 and last - first < 1024, 'at most 1024 entries at once')
local hashes = redis.call('LRANGE', KEYS[1], first, last)
for at = 1, #hashes do hashes[at] = string.sub(hashes[at], 1, 32) end
return table.concat(hashes)
