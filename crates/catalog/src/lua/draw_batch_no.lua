-- draw_batch_no.lua: returns the first unused of some batch numbers. Writes nothing; the append that writes
-- the batch checks the number again.
--
-- KEYS   1 deployment record · 2 minted-batch index (hash)
-- ARGV   1 prefix of the deployment record that this process has seen (string)
--        2 key prefix of batch records (string) · then 1 to 1,000 candidates (integers)
-- Reply  the first unused candidate (integer) · -1 another deployment · -2 no candidate is unused
--        -3 KEYS[2] is not a hash
-- Worked: EVALSHA <sha> 2 vt1:deployment vt1:bn  '{"id":"ab",' vt1:b: 4711 4712  -> 4711
-- Complexity: O(candidates).
assert(#KEYS == 2 and #ARGV >= 3 and #ARGV <= 1002, 'draw_batch_no takes 2 keys and 3 to 1002 arguments')
local deployment = redis.call('GET', KEYS[1])
if not deployment or string.sub(deployment, 1, #ARGV[1]) ~= ARGV[1] then return -1 end
local minted = redis.pcall('HMGET', KEYS[2], unpack(ARGV, 3))
if minted.err then return -3 end
for i = 3, #ARGV do
  -- A batch that is older than the index may have only a record.
  if not minted[i - 2] and redis.call('EXISTS', ARGV[2] .. ARGV[i]) == 0 then return tonumber(ARGV[i]) end
end
return -2
