-- One instance says that it lives and what it holds, and hears the keyring where that has changed.
-- KEYS: 1 deployment record  2 keyring record  3 instances that live  4 how many have come  5 this instance's record
-- ARGV: 1 the beginning of the deployment record this process has seen  2 revision it knows (integer), -1 for none
--       3 its id, or '' to only listen  4 what it holds (JSON)  5 how long that counts, ms (integer)
-- Reply: {status, revision, record}; status 0 heard, 1 the deployment is not that one, 2 the keyring was never made,
--        3 the keyring was made and is gone. record is '' where its revision is the one known.
-- Worked: EVAL … 5 vt1:deployment vt1:keyring vt1:live vt1:live-seq vt1:live:0190… '{"id":"ab"' 3 0190… '{}' 10000 -> {0, 3, ''}
-- Complexity: O(log n) in instances.
assert(#KEYS == 5 and #ARGV == 5, 'beat takes 5 keys and 5 arguments')
local deployment = redis.call('GET', KEYS[1])
if not deployment or string.sub(deployment, 1, #ARGV[1]) ~= ARGV[1] then return {1, 0, ''} end
if ARGV[3] ~= '' then
  local clock, lasts = redis.call('TIME'), tonumber(ARGV[5])
  local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
  -- Who comes, or comes back after it ceased to count, moves the sequence on: a move that looked before then is refused.
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
