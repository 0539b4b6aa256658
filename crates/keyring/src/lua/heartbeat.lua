-- heartbeat.lua: registers an instance and what it holds, and returns the keyring if it has changed.
--
-- KEYS   1 deployment record · 2 keyring record · 3 live instances (sorted set: id, expiry in Unix ms)
--        4 registration counter · 5 record of this instance
-- ARGV   1 prefix of the deployment record that this process has seen (string)
--        2 known revision (integer, -1 for none) · 3 instance id (string), '' to poll without registering
--        4 what the instance holds (JSON) · 5 time to live (ms, integer)
-- Reply  {status, revision, record}: status 0 read, 1 another deployment, 2 no keyring was ever created,
--        3 the keyring was created and is missing · record is '' if its revision equals ARGV[2]
-- Worked: EVALSHA <sha> 5 vt1:deployment vt1:keyring vt1:live vt1:live-seq vt1:live:0190…
--         '{"id":"ab"' 3 0190… '{}' 10000  -> {0, 3, ''}
-- Complexity: O(log n) in live instances, plus O(m) in instances that have expired.
assert(#KEYS == 5 and #ARGV == 5, 'heartbeat takes 5 keys and 5 arguments')
local deployment = redis.call('GET', KEYS[1])
if not deployment or string.sub(deployment, 1, #ARGV[1]) ~= ARGV[1] then return {1, 0, ''} end
if ARGV[3] ~= '' then
  local clock, lasts = redis.call('TIME'), tonumber(ARGV[5])
  local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
  -- A new or returning instance increments the counter, which fails every move that was planned before.
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
  if redis.call('ZADD', KEYS[3], now + lasts, ARGV[3]) == 1 then redis.call('INCR', KEYS[4]) end
  redis.call('SET', KEYS[5], ARGV[4], 'PX', lasts)
end
local record = redis.call('GET', KEYS[2])
if not record or #record < 4 then
  if string.find(deployment, '"keyring_made":true', 1, true) then return {3, 0, ''} end
  return {2, 0, ''}
end
local revision = struct.unpack('>I4', record)
if revision == tonumber(ARGV[2]) then record = '' end
return {0, revision, record}
