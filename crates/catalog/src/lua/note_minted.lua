-- note_minted.lua: adds batches that are older than the minted-batch index to it. Existing entries stay.
--
-- KEYS   1 deployment record · 2 minted-batch index (hash) · then batch records
-- ARGV   1 prefix of the deployment record that this process has seen (string)
--        then the batch number of each record (integer)
-- Reply  number of entries added (integer) · -1 another deployment · -3 KEYS[2] is not a hash
-- Worked: EVALSHA <sha> 3 vt1:deployment vt1:bn vt1:b:4711  '{"id":"ab",' 4711  -> 1, at a second call 0
-- Complexity: O(records).
assert(#KEYS >= 2 and #ARGV == #KEYS - 1, 'note_minted takes a number for each record')
local deployment = redis.call('GET', KEYS[1])
if not deployment or string.sub(deployment, 1, #ARGV[1]) ~= ARGV[1] then return -1 end
local kind = redis.call('TYPE', KEYS[2]).ok
if kind ~= 'none' and kind ~= 'hash' then return -3 end
local noted = 0
for i = 3, #KEYS do
  -- Skips a record of another type or length; reads of that batch report the damage.
  local header = redis.pcall('GETRANGE', KEYS[i], 4, 9)
  if type(header) == 'string' and #header == 6 then
    noted = noted + redis.call('HSETNX', KEYS[2], ARGV[i - 1], header)
  end
end
return noted
