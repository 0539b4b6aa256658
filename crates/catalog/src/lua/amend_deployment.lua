-- amend_deployment.lua: replaces the deployment record if it is still the one that was read.
--
-- KEYS   1 deployment record
-- ARGV   1 the record as read (bytes) · 2 the new record (bytes)
-- Reply  1 replaced · 0 it has changed or is missing
-- Worked: EVALSHA <sha> 1 vt1:deployment  '{"id":"ab",…}' '{"id":"ab",…,"audit_begun":true}'  -> 1
-- Complexity: O(1).
assert(#KEYS == 1 and #ARGV == 2, 'amend_deployment takes 1 key and 2 arguments')
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
