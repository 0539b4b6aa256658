-- Stores the Merkle tree's edge, and a signed note of that size, if all that the signer relied on still stands.
-- KEYS: 1 edge  2 notes  3.. records that must begin as the signer saw them
-- ARGV: 1 size (integer, decimal)  2 the edge, u64be(size) and more  3 number of the key  4 the signed note
--       5 a stored edge that is replaced whatever size it claims, or ''  6.. what the record with that place begins with
-- Reply: 0 stored; n > 0 the nth of those records begins otherwise, nothing was stored; -1 the stored edge is larger, since
--        somebody signed further meanwhile: nothing was stored.
-- Worked: EVAL … 4 vt1:{audit}:range vt1:{audit}:notes vt1:deployment vt1:keyring 2 <48 bytes> 1 'origin…' '' '{"id":"ab"' <4 bytes> -> 0
-- Complexity: O(1).
assert(#KEYS >= 2 and #ARGV == #KEYS + 3, 'store_checkpoint takes as many beginnings as records')
local size = tonumber(ARGV[1])
assert(size and #ARGV[2] >= 8, 'an edge begins with its size')
for at = 3, #KEYS do
  local record = redis.call('GET', KEYS[at])
  if not record or string.sub(record, 1, #ARGV[at + 3]) ~= ARGV[at + 3] then return at - 2 end
end
local stored = redis.call('GET', KEYS[1])
if stored and #stored >= 8 and stored ~= ARGV[5] then
  local high, low = struct.unpack('>I4I4', stored)
  if high * 4294967296 + low > size then return -1 end
end
redis.call('SET', KEYS[1], ARGV[2])
redis.call('HSET', KEYS[2], ARGV[3], ARGV[4])
return 0
