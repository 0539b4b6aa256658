-- Writes and deletes probe keys: shows whether this Redis accepts writes now and permits them to this user.
--
-- KEYS   1 a string; if more than strings are written also 2 a list · 3 a hash · 4 a sorted set. No other
--        script uses these keys.
-- ARGV   none
-- Reply  status OK, or the error of the first write that is refused
--
-- A call: EVAL .. 4 vt1:write-probe vt1:write-probe:list vt1:write-probe:hash vt1:write-probe:zset -> OK
--
-- O(1). Where DEL is refused, what it wrote is gone ten seconds later.
local life = 10000
redis.call('SET', KEYS[1], 0, 'PX', life)
if #KEYS > 1 then
  local text, list, hash, zset = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
  redis.call('INCR', text)
  redis.call('INCRBY', text, 1)
  redis.call('MSET', text, 0)
  redis.call('SETRANGE', text, 0, 0)
  redis.call('PEXPIRE', text, life)
  redis.call('RPUSH', list, 0)
  redis.call('LTRIM', list, 0, 0)
  redis.call('PEXPIRE', list, life)
  redis.call('HSET', hash, 'f', 0, 'g', 0)
  redis.call('HSETNX', hash, 'h', 0)
  redis.call('HDEL', hash, 'g')
  redis.call('PEXPIRE', hash, life)
  redis.call('ZADD', zset, 0, 'm')
  redis.call('PEXPIRE', zset, life)
  redis.call('ZREM', zset, 'm')
  redis.call('ZREMRANGEBYLEX', zset, '-', '+')
  redis.call('ZREMRANGEBYSCORE', zset, 0, 0)
  redis.call('ZREMRANGEBYRANK', zset, 0, 0)
  redis.call('DEL', text, list)
  redis.call('UNLINK', hash, zset)
else
  redis.call('DEL', KEYS[1])
end
return redis.status_reply('OK')
