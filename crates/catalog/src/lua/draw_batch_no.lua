-- Says which of some batch numbers is unused. Writes nothing: the append that writes the batch checks the number again.
-- KEYS: 1 deployment record  2 what was minted, by batch number (hash)
-- ARGV: 1 the beginning of the deployment record this process has seen  2 what a batch record's key begins with
--       then the candidates, drawn at random (integers, 1 to 1,000 of them)
-- Reply: the first that is unused (integer), or -1 when the deployment is not that one, -2 when none is unused, -3 when KEYS[2] is no hash.
-- Worked: EVAL … 2 vt1:deployment vt1:bn '{"id":"ab",' vt1:b: 4711 4712 -> 4711
-- Complexity: O(candidates).
assert(#KEYS == 2 and #ARGV >= 3 and #ARGV <= 1002, 'draw_batch_no takes 2 keys and 3 to 1002 arguments')
local standing = redis.call('GET', KEYS[1])
if not standing or string.sub(standing, 1, #ARGV[1]) ~= ARGV[1] then return -1 end
local minted = redis.pcall('HMGET', KEYS[2], unpack(ARGV, 3))
if minted.err then return -3 end
for i = 3, #ARGV do
  -- A batch from before there was such a hash may have a record alone.
  if not minted[i - 2] and redis.call('EXISTS', ARGV[2] .. ARGV[i]) == 0 then return tonumber(ARGV[i]) end
end
return -2
