-- Lua functions for counting a scan; assembled into a script by the service that scans.
--
-- A tag's state is a packed string of 23 bytes, or its first byte alone while the tag was never scanned:
--   B  flags      bit 0: revoked
--   I4 count      scans so far
--   I6 first_at   ms since 1970
--   I6 last_at    ms since 1970
--   I2 I2 I2      ms between the last four scans, newest first, 65535 for "that or more"
-- Five scans in 60 s are the most that a risk factor looks at, so four earlier times are enough.
-- Complexity: O(1).

-- A clock further behind than this has been ahead when the state was written: how long ago its scans were is not known then.
local SCAN_AHEAD_MS = 60000

-- tag_scan(now, state): state is the stored string or false; what scan_judge calls damaged must not come here.
--   -> new_state, count, first_at, in_30_s, in_60_s, revoked (0|1); the scan itself is counted in each.
-- Worked: tag_scan(1000, false) -> <23 bytes>, 1, 1000, 1, 1, 0
local function tag_scan(now, state)
  local flags, count, first_at, last_at, a, b, c = 0, 0, now, now, 65535, 65535, 65535
  local since = 65535
  if state and #state == 23 then
    flags, count, first_at, last_at, a, b, c = struct.unpack('>BI4I6I6I2I2I2', state)
    if last_at > now + SCAN_AHEAD_MS then
      last_at, a, b, c = now, 65535, 65535, 65535
      first_at = math.min(first_at, now)
    else
      since = math.min(math.max(now - last_at, 0), 65535)
      now = math.max(now, last_at)
    end
  elseif state and #state == 1 then
    flags = string.byte(state, 1)
  end
  if count < 4294967295 then count = count + 1 end
  local in_30, in_60, ago = 1, 1, since
  for step = 1, 4 do
    if ago < 60000 then in_60 = in_60 + 1 end
    if ago < 30000 then in_30 = in_30 + 1 end
    if step == 1 then ago = ago + a elseif step == 2 then ago = ago + b else ago = ago + c end
  end
  local new_state = struct.pack('>BI4I6I6I2I2I2', flags, count, first_at, now, since, a, b)
  return new_state, count, first_at, in_30, in_60, flags % 2
end

-- batch_holds(batch, epoch, index): batch is the stored record (10 bytes or more) or false -> true when the tag was minted.
-- Worked: batch_holds(struct.pack('>I4I4I2', 1, 10, 3), 3, 9) -> true
local function batch_holds(batch, epoch, index)
  if not batch then return false end
  local _, size, minted_in = struct.unpack('>I4I4I2', batch)
  return minted_in == epoch and index < size
end

-- scan_judge(batch, state, product, product_revision, epoch, index): the stored strings, or false -> one of these three. Asked before anything is
-- written: a record that cannot be read must fail its own scan alone, and be overwritten by none.
local SCAN_MINTED, SCAN_NOT_MINTED, SCAN_DAMAGED = 0, 2, 6
-- Worked: scan_judge(struct.pack('>I4I4I2', 1, 10, 3), false, false, -2, 3, 9) -> SCAN_MINTED
local function scan_judge(batch, state, product, product_revision, epoch, index)
  if batch and #batch < 10 or state and #state ~= 0 and #state ~= 1 and #state ~= 23 then return SCAN_DAMAGED end
  if not batch_holds(batch, epoch, index) then return SCAN_NOT_MINTED end
  if product_revision ~= -2 and not (product and #product >= 4) then return SCAN_DAMAGED end
  return SCAN_MINTED
end

-- record_if_changed(record, revision): record is the stored string (4 bytes or more) or false; revision -1 asks for it in any case, -2 never.
--   -> the record, or '' when it has that revision, is not there, or is not asked for.
local function record_if_changed(record, revision)
  if not record or revision == -2 or struct.unpack('>I4', record) == revision then return '' end
  return record
end

-- is_deployment(record, expected): whether the deployment record begins with what this process has seen.
local function is_deployment(record, expected)
  return record and string.sub(record, 1, #expected) == expected
end
