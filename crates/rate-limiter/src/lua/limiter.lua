-- limiter.lua: the rate limiter as a library of Lua functions. The functions do not touch KEYS and ARGV, so
-- that a script that does more than limit can put this file in front of its own main part and stay one round
-- trip.
--
-- Stored values
--   birth record   decimal text: when the region was born, ms since 1970. No TTL.
--   state          packed, big-endian, at most 355 bytes:
--                    total I3                     units in all groups
--                    first I6, span I2, count I3  the newest group: first time (ms since 1970), last - first
--                                                 (ms), units
--                    first I6, span I2, count I3  each older group, oldest first, at most 31
--                  The newest group comes first and the oldest next, so that counting reads only these two.
--
-- The rule. A unit joins the newest group while now - first < 60 s / 32, or if there are 32 groups. Otherwise
-- it begins a group. A group leaves 60 s after its LAST unit, so that no unit is forgotten early and no 60 s
-- window admits more than the limit. The other units of a group stay up to 60 s / 32 too long, which costs an
-- evenly spaced caller 3 %.
--
-- Time is Redis's. A time up to 60 s ahead of Redis's clock is valid: the clock stepped back, and the
-- caller's now is that time. A time further ahead, or an unreadable value, is lost state: the caller's state
-- is dropped, and the region is born again and therefore cold. The same holds for a birth more than 60 s
-- before the deployment was created: the clock had stepped back when the region was born. Such a region is
-- born again once, when the clock is right.
--
-- How a script uses it (worked call: limit_main.lua)
--   local now    = limiter_now()                                      TIME
--   local values = redis.call('MGET', unpack(KEYS))                   one read for everything
--   local d      = limiter_decide(now, values, key_at, ARGV, arg_at)  calls no Redis command
--   limiter_commit(d, KEYS)                                           writes; call it once for every decision
--   return d.reply                                                    or these integers among others
--
-- Redis calls: TIME, MGET, one SET for each dimension if allowed. None if denied, except for a birth record
-- that is missing and state that is dropped. Complexity: O(dimensions) if allowed, O(dimensions * 32) if
-- denied.

local LIMITER_WINDOW_MS = 60000
local LIMITER_JOIN_MS = 1875 -- 60 s / 32
local LIMITER_MAX_GROUPS = 32
local LIMITER_AHEAD_MS = 60000
-- How long a state is kept after its last group has left. A clock that jumps ahead and back within the valid
-- range still finds the state.
local LIMITER_SLACK_MS = 61000
local LIMITER_HEAD_BYTES = 14
local LIMITER_GROUP_BYTES = 11

-- Redis's clock in ms since 1970.
local function limiter_now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- The result of limiter_decide, with the state of each dimension. Decisions of one call reuse these tables,
-- because new tables cost a tenth of a scan's time in Redis. A decision is therefore valid until the next
-- limiter_decide.
local LIMITER_DECISION = {
  allowed = false, reply = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }, now = 0, birth = false, states = {},
  key_at = 0, next_key = 0, next_arg = 0,
}

-- Reads the stored state `raw` (string or false) at `now` (ms since 1970) into the table `s`, or into a new
-- one if `s` is nil, and removes the groups that have left. Fields: total; first, last and count of the
-- newest group (count 0: no group); older (packed, oldest first); now (the caller's, ms); dropped (whether
-- `raw` was lost state). limiter_decide and limiter_commit set the others.
local function limiter_open(raw, now, s)
  local size = raw and #raw or 0
  if s then
    s.total, s.first, s.last, s.count, s.older, s.now, s.dropped = 0, 0, 0, 0, '', now, false
  else
    -- All fields at once, because a table that grows is slow.
    s = {
      total = 0, first = 0, last = 0, count = 0, older = '', now = now, dropped = false, full = 0, limit = 0,
      allows = false, stored = '',
    }
  end
  if size < LIMITER_HEAD_BYTES or (size - LIMITER_HEAD_BYTES) % LIMITER_GROUP_BYTES ~= 0 then
    s.dropped = size ~= 0
    return s
  end
  local total, first, span, count = struct.unpack('>I3I6I2I3', raw)
  local last = first + span
  if last > now + LIMITER_AHEAD_MS or last + LIMITER_WINDOW_MS <= now then
    s.dropped = last > now
    return s
  end
  if last > now then
    s.now = last
  end
  local pos = LIMITER_HEAD_BYTES + 1
  while pos <= size do
    local older_first, older_span, older_count = struct.unpack('>I6I2I3', raw, pos)
    if older_first + older_span + LIMITER_WINDOW_MS > s.now then
      break
    end
    total = total - older_count
    pos = pos + LIMITER_GROUP_BYTES
  end
  s.total, s.first, s.last, s.count, s.older = total, first, last, count, string.sub(raw, pos)
  return s
end

-- Adds one unit to a state.
local function limiter_count(s)
  if s.count > 0 and (s.now - s.first < LIMITER_JOIN_MS
      or #s.older >= (LIMITER_MAX_GROUPS - 1) * LIMITER_GROUP_BYTES) then
    s.count = s.count + 1
  else
    if s.count > 0 then
      s.older = s.older .. struct.pack('>I6I2I3', s.first, s.last - s.first, s.count)
    end
    s.first, s.count = s.now, 1
  end
  s.last = s.now
  s.total = s.total + 1
end

-- Returns when at least `units` of the units in the state will have left (ms since 1970). Returns 0 if units
-- <= 0, and false if the state has fewer units.
local function limiter_left_at(s, units)
  if units <= 0 then
    return 0
  end
  if units > s.total then
    return false
  end
  local left = 0
  for pos = 1, #s.older, LIMITER_GROUP_BYTES do
    local first, span, count = struct.unpack('>I6I2I3', s.older, pos)
    left = left + count
    if left >= units then
      return first + span + LIMITER_WINDOW_MS
    end
  end
  return s.last + LIMITER_WINDOW_MS
end

-- Returns the wait (ms, by Redis's clock) until more than `remaining` units are left under `limit` if no
-- other request comes, or 0 if that never happens. With `rise` (ms since 1970), the limit becomes `full`
-- then. For a denied caller (remaining 0), this is exactly the wait until it is admitted.
local function limiter_grows_in(s, now, limit, remaining, rise, full)
  local at = limiter_left_at(s, s.total + remaining + 1 - limit)
  if rise and full > limit then
    local left = limiter_left_at(s, s.total + remaining + 1 - full)
    local risen = left and math.max(rise, left)
    if risen and (not at or risen < at) then
      at = risen
    end
  end
  return at and at - now or 0
end

-- limiter_decide(now, values, key_at, args, arg_at) -> d, good until the next limiter_decide
--   now             ms by Redis's clock: limiter_now()
--   values          MGET over KEYS: values[key_at] is the birth record, values[key_at + i] the state of
--                   dimension i
--   args            ARGV, or numbers. From arg_at on: n (dimensions, 1..8) · cold_ms (length of the cold
--                   phase, ms; -1: no cold phase, and values[key_at] is ignored) · created_ms (when the
--                   deployment was created, ms since 1970; 0: unknown) · then n times: limit, cold_limit
--                   (units per 60 s)
-- d
--   d.allowed       true or false
--   d.reply         array of 6 + 5n integers
--                     1 allowed, 0|1 · 2 retry_after, ms (0 if allowed)
--                     3 born_at, ms since 1970 (0 without a birth record) · 4 now, ms since 1970
--                     5 flags: 1 cold, 2 birth record written, 4 lost state found · 6 n
--                     then for each dimension: allows by itself, 0|1 · limit in force · remaining ·
--                     ms until remaining grows (0: never) · first time of the group that counted the unit,
--                     which a refund names (0 if denied)
--   d.next_key, d.next_arg   the first index after the limiter's own in KEYS and in ARGV
local function limiter_decide(now, values, key_at, args, arg_at)
  local n, cold_ms = tonumber(args[arg_at]), tonumber(args[arg_at + 1])
  local d = LIMITER_DECISION
  local states, reply, lost = d.states, d.reply, false
  for i = n + 1, #states do
    states[i] = nil
  end
  for i = 7 + 5 * n, #reply do
    reply[i] = nil
  end
  for i = 1, n do
    local s = limiter_open(values[key_at + i], now, states[i])
    lost = lost or s.dropped
    states[i] = s
  end

  local born, made, birth, rise = 0, false, false, false
  if cold_ms >= 0 then
    made = not values[key_at]
    born = tonumber(values[key_at])
    local oldest = tonumber(args[arg_at + 2]) - LIMITER_AHEAD_MS
    if now < oldest then oldest = 0 end
    lost = lost or not (made or (born and born >= 0 and born >= oldest and born <= now + LIMITER_AHEAD_MS))
    birth = made or lost
    if birth then
      born = now
    end
    rise = now < born + cold_ms and born + cold_ms
  end

  local allowed = true
  for i = 1, n do
    local s = states[i]
    s.full = tonumber(args[arg_at + 2 * i + 1])
    s.limit = rise and tonumber(args[arg_at + 2 * i + 2]) or s.full
    s.allows = s.total < s.limit
    allowed = allowed and s.allows
  end

  local flags = (rise and 1 or 0) + (made and 2 or 0) + (lost and 4 or 0)
  reply[1], reply[2], reply[3], reply[4], reply[5], reply[6] = allowed and 1 or 0, 0, born, now, flags, n
  for i = 1, n do
    local s = states[i]
    if allowed then
      limiter_count(s)
    end
    local remaining = math.max(0, s.limit - s.total)
    local grows = limiter_grows_in(s, now, s.limit, remaining, rise, s.full)
    if not s.allows and grows > reply[2] then
      reply[2] = grows
    end
    local at = 1 + 5 * i
    reply[at + 1], reply[at + 2], reply[at + 3] = s.allows and 1 or 0, s.limit, remaining
    reply[at + 4], reply[at + 5] = grows, allowed and s.first or 0
  end
  d.allowed, d.now, d.birth, d.key_at = allowed, now, birth, key_at
  d.next_key, d.next_arg = key_at + n + 1, arg_at + 3 + 2 * n
  return d
end

-- Returns the TTL of a state, ms. The usual value is text, because Redis formats numbers slowly.
local LIMITER_LIFE = '121000' -- LIMITER_WINDOW_MS + LIMITER_SLACK_MS
local function limiter_life(s, now)
  if s.last == now then
    return LIMITER_LIFE
  end
  return s.last - now + LIMITER_WINDOW_MS + LIMITER_SLACK_MS
end

-- Writes what a decision changes. `keys` is what `values` was read from, same indexes.
local function limiter_commit(d, keys)
  if d.birth then
    redis.call('SET', keys[d.key_at], d.now)
  end
  for i = 1, #d.states do
    local s = d.states[i]
    if d.allowed then
      s.stored = struct.pack('>I3I6I2I3', s.total, s.first, s.last - s.first, s.count) .. s.older
      redis.call('SET', keys[d.key_at + i], s.stored, 'PX', limiter_life(s, d.now))
    elseif s.dropped then
      redis.call('DEL', keys[d.key_at + i])
    end
  end
end

-- Puts what limiter_commit wrote into `values`, a table from key to stored value. A script that makes several
-- decisions on one read calls it after limiter_commit, so that the next decision sees the write.
local function limiter_remember(d, keys, values)
  if d.birth then
    values[keys[d.key_at]] = d.now
  end
  for i = 1, #d.states do
    local s = d.states[i]
    if d.allowed then
      values[keys[d.key_at + i]] = s.stored
    elseif s.dropped then
      values[keys[d.key_at + i]] = false
    end
  end
end

-- Returns the stored state without one unit of the group that began at `stamp` (ms since 1970): the new
-- string, '' if no unit is left, or false if that group has left.
local function limiter_less_one(raw, stamp)
  local size = raw and #raw or 0
  if size < LIMITER_HEAD_BYTES or (size - LIMITER_HEAD_BYTES) % LIMITER_GROUP_BYTES ~= 0 then
    return false
  end
  local total, first, span, count = struct.unpack('>I3I6I2I3', raw)
  local older = string.sub(raw, LIMITER_HEAD_BYTES + 1)
  if first == stamp then
    count = count - 1
    if count == 0 then
      if older == '' then
        return ''
      end
      first, span, count = struct.unpack('>I6I2I3', older, #older - LIMITER_GROUP_BYTES + 1)
      older = string.sub(older, 1, -LIMITER_GROUP_BYTES - 1)
    end
    return struct.pack('>I3I6I2I3', total - 1, first, span, count) .. older
  end
  for pos = 1, #older, LIMITER_GROUP_BYTES do
    local group_first, group_span, group_count = struct.unpack('>I6I2I3', older, pos)
    if group_first == stamp then
      local kept = ''
      if group_count > 1 then
        kept = struct.pack('>I6I2I3', group_first, group_span, group_count - 1)
      end
      return struct.pack('>I3I6I2I3', total - 1, first, span, count)
        .. string.sub(older, 1, pos - 1) .. kept .. string.sub(older, pos + LIMITER_GROUP_BYTES)
    end
  end
  return false
end
