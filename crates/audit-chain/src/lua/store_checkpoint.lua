-- store_checkpoint.lua: stores the cached compact range and a signed note, if every record that the signer
-- relied on is unchanged.
--
-- KEYS[1]  range         string, u64be(size) and the compact range of all leaves but the last
-- KEYS[2]  notes         hash, number of a key -> its latest signed note
-- KEYS[3..] records      strings that must begin as the signer saw them
-- ARGV[1]  size          integer, number of leaves of the new range
-- ARGV[2]  range         bytes, as in KEYS[1]
-- ARGV[3]  key number    integer
-- ARGV[4]  note          text
-- ARGV[5]  distrusted    bytes of a stored range that is replaced whatever size it claims, or empty
-- ARGV[6..] prefixes     bytes, the first bytes of each record
-- Reply: 0    stored
--        n>0  the nth record begins otherwise; nothing stored
--        -1   a larger range is stored, because somebody else signed a later checkpoint; nothing stored
-- Call: EVALSHA .. 4 vt1:{audit}:range vt1:{audit}:notes vt1:deployment vt1:keyring
--         2 <48 bytes> 1 'origin…' '' '{"id":"ab"' <4 bytes>  ->  0
-- Complexity: O(records).
assert(#KEYS >= 2 and #ARGV == #KEYS + 3, 'store_checkpoint takes one prefix for each record')
local size = tonumber(ARGV[1])
assert(size and #ARGV[2] >= 8, 'a compact range begins with its size')
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
