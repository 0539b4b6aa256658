-- append.lua: writes the entries of one call, their effects and the new head: all of it or nothing.
-- It is assembled behind head.lua and chain_end.lua.
--
-- KEYS[1]  head              string, u64be(size) .. hash(32)
-- KEYS[2]  generation        string, u64be(generation) .. u64be(started at, Unix ms)
-- KEYS[3]  segment           list, the segment of the first entry
-- KEYS[4]  next segment      list, given only when the entries cross into it
--
-- ARGV[1]  expected head     40 bytes as in KEYS[1]; empty: the chain must have no head
-- ARGV[2]  new head          40 bytes
-- ARGV[3]  size              integer, entries in the expected head, which is the seq of the first entry
-- ARGV[4]  n                 integer, entries in this call, 1..2048
-- ARGV[5]  split             integer, entries that go to KEYS[3]; the rest goes to KEYS[4]
-- ARGV[6]  segment entries   integer, entries in a full segment
-- ARGV[7]  segment prefix    text; the key of segment k is this .. k
-- ARGV[8]  ids prefix        text; the key of generation g of ids is this .. g
-- ARGV[9]  ids limit         integer, ids after which a generation is full
-- ARGV[10] ids life          integer, ms after which a generation is old
-- ARGV[11] g                 integer, checks of the guard
-- ARGV[12] m                 integer, entries with an effect
-- ARGV[13] surplus           empty: no entries may follow the head; else the tail_digest of those that do,
--                            which the call removes
-- then     g checks
--          n ids             16 bytes each
--          n elements        hash(32) .. payload, each
--          m effects         index of the entry from 0, c, w, c checks, w writes
--   check  absent key | equals key bytes | prefix key bytes | byte_not key offset byte
--          hfield_equals key field bytes | hfield_absent key field | zcard_below key members
--          (zcard_below counts members that earlier entries of this call add)
--   write  number of arguments, then a command: SET SETRANGE ZADD ZREM HSET HDEL DEL PEXPIRE
-- Keys of the guard and of effects are in ARGV, and segments and ids are reached by prefix, because only the
-- script knows which ones it needs. All keys are on one node.
--
-- Reply: {0}                             written
--        {1, check}                      this check of the guard (from 0) fails; nothing written
--        {2, head, hash, kind, number}   the head is another one (empty: none). hash: stored with the last
--                                        entry of the expected head (empty: none). kind, number: see
--                                        chain_end_fault. Nothing written
--        {3, index, kind, value, hash, ...}   these entries cannot be written, so none was. Four values each:
--            kind 0  the chain holds the same event: value is its seq, hash the entry's
--            kind 1  the chain holds another event with this id: value is its seq, hash the entry's
--            kind 2  a check of the effect fails: value is its index from 0, hash is empty
--            kind 3  a write meets a key of another type: value is its index from 0, hash is empty
--        {4, kind, number}               the chain does not end as its head says: see chain_end_fault.
--                                        {4, 1, 0}: the entries after the head are not those that the call
--                                        removes. Nothing written
--
-- Call: the first entry of a chain, without guard and effect:
--   EVALSHA .. 3 vt1:{audit}:head vt1:{audit}:gen vt1:{audit}:seg:0 '' <40 bytes> 0 1 1 4096
--           vt1:{audit}:seg: vt1:{audit}:ids: 1000000 86400000 0 0 '' <16 bytes> <hash .. payload>    ->  {0}
--
-- Complexity: O(n + arguments of the effects): HMGET in two generations, RPUSH per segment, one HSET; a few
-- microseconds per entry.
--
-- Ids are kept in generations. One is full after `ids limit` ids and old after `ids life` ms; then a new one
-- begins and the one before is kept. An id is therefore known for at least that many events or that long, and
-- at most twice as many are stored.

if #KEYS < 3 or #KEYS > 4 or #ARGV < 13 then
  return redis.error_reply('ERR append: wrong number of keys or arguments')
end

local size, n, split = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local segment_entries, segment_prefix, ids_prefix = tonumber(ARGV[6]), ARGV[7], ARGV[8]
local ids_limit, ids_life = tonumber(ARGV[9]), tonumber(ARGV[10])
local guards, effects = tonumber(ARGV[11]), tonumber(ARGV[12])
local has_numbers = size and n and split and segment_entries and ids_limit and ids_life and guards and effects
if not has_numbers or n < 1 or n > 2048 or split < 1 or split > n or (split < n) ~= (#KEYS == 4) then
  return redis.error_reply('ERR append: contradicting counts')
end
if size + n > 9007199254740991 then
  return redis.error_reply('ERR append: a chain has at most 2^53 - 1 entries')
end
if (#ARGV[1] ~= 40 and #ARGV[1] ~= 0) or #ARGV[2] ~= 40 or #ARGV < 13 + 2 * n then
  return redis.error_reply('ERR append: heads or entries of the wrong length')
end

-- Number of arguments of each check.
local check_arguments = {
  absent = 2, equals = 3, prefix = 3, byte_not = 4, hfield_equals = 4, hfield_absent = 3, zcard_below = 3,
}
-- Type of key that a command needs. Other commands accept any type.
local type_for = { SETRANGE = 'string', ZADD = 'zset', ZREM = 'zset', HSET = 'hash', HDEL = 'hash' }
local is_write = {
  SET = true, SETRANGE = true, ZADD = true, ZREM = true, HSET = true, HDEL = true, DEL = true, PEXPIRE = true,
}

-- Members that entries of this call add to sorted sets, by key. A rejected entry adds none.
local added = {}

-- Returns whether the check at ARGV[at] holds. An error of the command (another type) is a table, which
-- equals nothing, so the check fails.
local function holds(at)
  local name, key = ARGV[at], ARGV[at + 1]
  if name == 'absent' then
    return redis.call('EXISTS', key) == 0
  elseif name == 'equals' then
    return redis.pcall('GET', key) == ARGV[at + 2]
  elseif name == 'prefix' then
    local want = ARGV[at + 2]
    return #want == 0 or redis.pcall('GETRANGE', key, 0, #want - 1) == want
  elseif name == 'byte_not' then
    local offset = ARGV[at + 2]
    local byte = redis.pcall('GETRANGE', key, offset, offset)
    if byte == '' then
      byte = '\0'
    end
    return type(byte) == 'string' and byte ~= ARGV[at + 3]
  elseif name == 'hfield_equals' then
    return redis.pcall('HGET', key, ARGV[at + 2]) == ARGV[at + 3]
  elseif name == 'zcard_below' then
    local members = redis.pcall('ZCARD', key)
    return type(members) == 'number' and members + (added[key] or 0) < tonumber(ARGV[at + 2])
  end
  return redis.pcall('HEXISTS', key, ARGV[at + 2]) == 0
end

-- Locate all arguments before anything is read.
local guard_at, at = {}, 14
for i = 1, guards do
  guard_at[i] = at
  at = at + (check_arguments[ARGV[at]] or #ARGV)
end
local ids_at = at
local elements_at = ids_at + n
at = elements_at + n
local steps = {}
for e = 1, effects do
  local entry, checks, writes = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  if not (entry and checks and writes) or entry < 0 or entry >= n then
    return redis.error_reply('ERR append: effect without an entry')
  end
  local step = { entry = entry, checks = {}, writes = {} }
  at = at + 3
  for c = 1, checks do
    step.checks[c] = at
    at = at + (check_arguments[ARGV[at]] or #ARGV)
  end
  for w = 1, writes do
    local arguments = tonumber(ARGV[at])
    if not arguments or arguments < 2 or arguments > 8 or not is_write[ARGV[at + 1]] then
      return redis.error_reply('ERR append: unknown write')
    end
    step.writes[w] = at
    at = at + 1 + arguments
  end
  steps[e] = step
end
if at ~= #ARGV + 1 then
  return redis.error_reply('ERR append: ' .. #ARGV .. ' arguments do not end at ' .. at - 1)
end

-- The guard.
for i = 1, guards do
  if not holds(guard_at[i]) then
    return { 1, i - 1 }
  end
end

-- The head, and whether the chain ends there.
local head = stored_head(KEYS[1])
local fault, number = chain_end_fault(head, segment_prefix, segment_entries)
if head ~= ARGV[1] then
  local hash = size > 0 and hash_of_entry(size - 1, segment_prefix, segment_entries) or ''
  return { 2, head, hash, fault, number }
elseif ARGV[13] ~= '' then
  if fault ~= 1 or tail_digest(size, segment_prefix, segment_entries) ~= ARGV[13] then
    return { 4, 1, 0 }
  end
elseif fault >= 0 then
  return { 4, fault, number }
end

-- Ids that the chain holds already.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local generation, started_at = 0, 0
local stored = redis.pcall('GET', KEYS[2])
-- A value of another type counts as none, like one that was deleted, and is replaced.
if type(stored) ~= 'string' then
  stored = false
elseif #stored == 16 then
  generation, started_at = struct.unpack('>I8I8', stored)
end
local ids_key = ids_prefix .. generation
local previous_key = ids_prefix .. generation - 1
local rejected, known, missing = { 3 }, {}, nil

local function reject(entry, kind, value, hash)
  local last = #rejected
  rejected[last + 1], rejected[last + 2], rejected[last + 3], rejected[last + 4] = entry, kind, value, hash
end

local function find_ids(key)
  local found = redis.call('HMGET', key, unpack(ARGV, ids_at, ids_at + n - 1))
  for i = 1, n do
    local seq = found[i] and tonumber(found[i])
    -- An id of a seq after the head is left from an interrupted call. Its entry is not in the chain.
    if seq and seq < size then
      local segment = segment_prefix .. math.floor(seq / segment_entries)
      local element = redis.pcall('LINDEX', segment, seq % segment_entries)
      if type(element) == 'string' then
        local is_same = string.sub(element, 33) == string.sub(ARGV[elements_at + i - 1], 33)
        reject(i - 1, is_same and 0 or 1, seq, string.sub(element, 1, 32))
      else
        missing = seq
      end
      known[i - 1] = true
    end
  end
end

if stored then
  find_ids(ids_key)
  if redis.call('EXISTS', previous_key) == 1 then
    find_ids(previous_key)
  end
end
if missing then
  return { 4, 2, missing }
end

-- Returns kind and index of what prevents an effect, nil if nothing does. Types come first: a check of a key
-- of another type fails too, which would report damage as a condition that does not hold.
local function obstacle(step)
  for w = 1, #step.writes do
    local wanted = type_for[ARGV[step.writes[w] + 1]]
    if wanted then
      local kind = redis.call('TYPE', ARGV[step.writes[w] + 2]).ok
      if kind ~= 'none' and kind ~= wanted then
        return 3, w - 1
      end
    end
  end
  for c = 1, #step.checks do
    if not holds(step.checks[c]) then
      return 2, c - 1
    end
  end
  return nil
end

for e = 1, effects do
  local step = steps[e]
  if not known[step.entry] then
    local kind, which = obstacle(step)
    if kind then
      reject(step.entry, kind, which, '')
    else
      for w = 1, #step.writes do
        local first = step.writes[w] + 1
        if ARGV[first] == 'ZADD' then
          added[ARGV[first + 1]] = (added[ARGV[first + 1]] or 0) + 1
        end
      end
    end
  end
end
if #rejected > 1 then
  return rejected
end

local fresh = not stored or now - started_at >= ids_life or redis.call('HLEN', ids_key) >= ids_limit

-- Nothing fails from here on: types were tested above, and probe.lua tested the commands before the first
-- call.
-- The surplus is removed first, so that a connection that may not run LTRIM writes nothing.
if ARGV[13] ~= '' then
  local last = math.floor((size - 1) / segment_entries)
  if size > 0 then
    redis.call('LTRIM', segment_prefix .. last, 0, (size - 1) % segment_entries)
  end
  redis.call('DEL', segment_prefix .. last + 1)
end
-- Ids are written before entries: if the call is interrupted all the same, an id of a seq after the head is
-- known to have no entry.
if fresh then
  generation = stored and generation + 1 or 0
  ids_key = ids_prefix .. generation
  redis.call('UNLINK', ids_prefix .. generation - 2, ids_key)
  redis.call('SET', KEYS[2], struct.pack('>I8I8', generation, now))
end
local pairs_of_ids = {}
for i = 1, n do
  pairs_of_ids[2 * i - 1] = ARGV[ids_at + i - 1]
  pairs_of_ids[2 * i] = size + i - 1
end
redis.call('HSET', ids_key, unpack(pairs_of_ids))
if fresh then
  redis.call('PEXPIRE', ids_key, 3 * ids_life)
end
redis.call('RPUSH', KEYS[3], unpack(ARGV, elements_at, elements_at + split - 1))
if split < n then
  redis.call('RPUSH', KEYS[4], unpack(ARGV, elements_at + split, elements_at + n - 1))
end

for e = 1, effects do
  local writes = steps[e].writes
  for w = 1, #writes do
    local first = writes[w] + 1
    redis.call(unpack(ARGV, first, first + tonumber(ARGV[first - 1]) - 1))
  end
end
redis.call('SET', KEYS[1], ARGV[2])
return { 0 }
