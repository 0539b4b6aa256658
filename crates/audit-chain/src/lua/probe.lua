-- probe.lua: tries every command that append.lua may run, so that none is refused in the middle of it.
--
-- KEYS   1 a text · 2 a list · 3 a hash · 4 a sorted set: keys of this script alone, which are gone at its end where DEL may be run
-- ARGV   none
-- Reply  '' when all may be run, else what the first that may not was answered
--
-- A call: EVALSHA .. 4 vt1:{audit}:probe:text vt1:{audit}:probe:list vt1:{audit}:probe:hash vt1:{audit}:probe:zset -> ''
--
-- O(1). What it writes it takes back; where that is refused, it is gone a second later; where that is refused too, a few bytes stay.
local text, list, hash, zset = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local steps = {
  { 'SET', text, 'x' }, { 'SETRANGE', text, 0, 'x' }, { 'GET', text }, { 'GETRANGE', text, 0, 0 }, { 'EXISTS', text },
  { 'TYPE', text }, { 'PEXPIRE', text, 1000 }, { 'RPUSH', list, 'x' }, { 'PEXPIRE', list, 1000 }, { 'LLEN', list }, { 'LINDEX', list, 0 },
  { 'HSET', hash, 'f', 'x' }, { 'PEXPIRE', hash, 1000 }, { 'HMGET', hash, 'f' }, { 'HGET', hash, 'f' }, { 'HEXISTS', hash, 'f' }, { 'HLEN', hash },
  { 'HDEL', hash, 'f' }, { 'ZADD', zset, 0, 'x' }, { 'PEXPIRE', zset, 1000 }, { 'ZCARD', zset }, { 'ZREM', zset, 'x' }, { 'TIME' }, { 'DEL', text, list, hash, zset },
  { 'UNLINK', text, list, hash, zset },
}
local refused = ''
for _, step in ipairs(steps) do
  local reply = redis.pcall(unpack(step))
  if type(reply) == 'table' and reply.err and refused == '' then
    refused = step[1] .. ': ' .. reply.err
  end
end
return refused
