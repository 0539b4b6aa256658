-- note_last_use.lua: records when keys were last used. A later time that another process has written is kept.
--
-- KEYS   1 last uses (hash) · 2 deployment record
-- ARGV   1 prefix of the deployment record that this process has seen (string)
--        then per key: id (string) · Unix minutes (integer); at most 2,000 keys
-- Reply  1 written · 0 another deployment, nothing written
-- Example: EVALSHA <sha> 2 vt1:ku vt1:deployment  '{"id":"ab"' 0123abcd 29520720  -> 1
-- Redis calls: GET, HMGET, HSET. Complexity: O(keys).
assert(#KEYS == 2 and #ARGV >= 3 and #ARGV <= 4001 and #ARGV % 2 == 1,
  'note_last_use takes 2 keys and pairs after 1 argument')
local deployment = redis.call('GET', KEYS[2])
if not deployment or string.sub(deployment, 1, #ARGV[1]) ~= ARGV[1] then
  return 0
end
local ids, later = {}, {}
for i = 2, #ARGV, 2 do
  ids[#ids + 1] = ARGV[i]
end
local noted = redis.call('HMGET', KEYS[1], unpack(ids))
for i, id in ipairs(ids) do
  local minutes = ARGV[2 * i + 1]
  if tonumber(minutes) > (tonumber(noted[i] or 0) or 0) then
    later[#later + 1] = id
    later[#later + 1] = minutes
  end
end
if #later > 0 then
  redis.call('HSET', KEYS[1], unpack(later))
end
return 1
