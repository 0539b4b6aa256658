-- note_last_use.lua: when keys were last used; a later time that somebody else noted stands. Runs by itself.
--
-- KEYS   1 hash of last uses · 2 deployment record
-- ARGV   1 beginning of the deployment record this process has seen · then for each key: id · Unix minutes; at most 2,000 keys
-- Reply  1, or 0 when the deployment is gone or another: nothing was written then
-- Worked: EVALSHA <sha> 2 vt1:ku vt1:deployment  '{"id":"ab"' 0123abcd 29520720  -> 1
-- Redis calls: GET, HMGET, HSET. Complexity: O(keys).
assert(#KEYS == 2 and #ARGV >= 3 and #ARGV <= 4001 and #ARGV % 2 == 1, 'note_last_use takes 2 keys and pairs after 1 argument')
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
