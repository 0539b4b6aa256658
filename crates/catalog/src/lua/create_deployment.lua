-- create_deployment.lua: creates the deployment record of an empty durable Redis, once.
--
-- KEYS   1 deployment record · 2 next batch number, which earlier versions wrote · 3 audit head
-- ARGV   1 the record (JSON)
-- Reply  {1, record} created · {0, record} one exists already · {-1, ''} VokeTag data exists without a record
-- Worked: EVALSHA <sha> 3 vt1:deployment vt1:next-batch vt1:{audit}:head  '{"id":"…"}'  -> {1, '{"id":"…"}'}
-- Complexity: O(1).
assert(#KEYS == 3 and #ARGV == 1, 'create_deployment takes 3 keys and 1 argument')
local stored = redis.call('GET', KEYS[1])
if stored then return {0, stored} end
if redis.call('EXISTS', KEYS[2], KEYS[3]) > 0 then return {-1, ''} end
redis.call('SET', KEYS[1], ARGV[1])
return {1, ARGV[1]}
