-- probe.lua: runs every command that append.lua may run, so that none is rejected in the middle of an append.
--
-- KEYS   1 string, 2 list, 3 hash, 4 sorted set: used by this script alone, deleted at its end if allowed
-- ARGV   none
-- Reply: '' if all commands are allowed, else the first that is not, with its error
-- Call: EVALSHA .. 4 vt1:{audit}:probe:text vt1:{audit}:probe:list vt1:{audit}:probe:hash
--         vt1:{audit}:probe:zset  ->  ''
-- Complexity: O(1).
--
-- If DEL is not allowed the keys expire after a second. If PEXPIRE is not allowed either, a few bytes stay.
local text, list, hash, zset = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local steps = {
  { 'SET', text, 'x' }, { 'SETRANGE', text, 0, 'x' }, { 'GET', text }, { 'GETRANGE', text, 0, 0 },
  { 'EXISTS', text }, { 'TYPE', text }, { 'PEXPIRE', text, 1000 },
  { 'RPUSH', list, 'x' }, { 'PEXPIRE', list, 1000 }, { 'LLEN', list }, { 'LINDEX', list, 0 },
  { 'HSET', hash, 'f', 'x' }, { 'PEXPIRE', hash, 1000 }, { 'HMGET', hash, 'f' }, { 'HGET', hash, 'f' },
  { 'HEXISTS', hash, 'f' }, { 'HLEN', hash }, { 'HDEL', hash, 'f' },
  { 'ZADD', zset, 0, 'x' }, { 'PEXPIRE', zset, 1000 }, { 'ZCARD', zset }, { 'ZREM', zset, 'x' },
  { 'TIME' }, { 'DEL', text, list, hash, zset }, { 'UNLINK', text, list, hash, zset },
}
local rejected = ''
for _, step in ipairs(steps) do
  local reply = redis.pcall(unpack(step))
  if type(reply) == 'table' and reply.err and rejected == '' then
    rejected = step[1] .. ': ' .. reply.err
  end
end
return rejected
