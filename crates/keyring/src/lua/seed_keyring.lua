-- seed_keyring.lua: creates the keyring record of a deployment once, and notes that in the deployment record.
--
-- KEYS   1 deployment record · 2 keyring record
-- ARGV   1 deployment record as read (bytes) · 2 new deployment record (bytes) · 3 new keyring record (bytes)
-- Reply  1 created · 0 a keyring record exists · -1 the deployment record has changed since it was read
-- Worked: EVALSHA <sha> 2 vt1:deployment vt1:keyring
--         '{"id":"ab",…}' '{"id":"ab",…,"keyring_made":true}' <bytes>  -> 1
-- Complexity: O(1).
assert(#KEYS == 2 and #ARGV == 3, 'seed_keyring takes 2 keys and 3 arguments')
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return -1 end
redis.call('SET', KEYS[2], ARGV[3])
redis.call('SET', KEYS[1], ARGV[2])
return 1
