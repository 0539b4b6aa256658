-- tag_scan.lua: Lua functions that check and count one scan. The generated constants (codes.rs) come before
-- them, scan.lua or limited_scan.lua after them.
--
-- A tag's state is a packed string. It has 28 bytes; 23 bytes, without `caller`, if an earlier version wrote
-- it; or only its first byte if the tag is revoked and was never scanned:
--   B  flags      bit 0: revoked. A revocation writes the whole byte.
--   I4 count      scans so far
--   I6 first_at   ms since 1970
--   I6 last_at    ms since 1970
--   I2 I2 I2      ms between the last four scans, newest first; 65535 means "65535 or more"
--   c5 caller     first bit: more than one caller has scanned the tag; then the 39-bit mark of the caller
--                 (see tag_scan)
-- Risk factors look at five scans in 60 s at most, so four earlier times are enough. Redis allocates as much
-- for 23 bytes as for 28.
-- Complexity: every function here is O(1).

-- If the stored last scan is further ahead of the clock than this, the clock was wrong when the state was
-- written. The stored intervals are unusable then.
local SCAN_AHEAD_MS = 60000
-- Bytes before the JSON of a batch record (I4 revision, I4 size, I2 epoch) and of a product record (I4
-- revision).
local BATCH_HEAD, PRODUCT_HEAD = 10, 4

-- batch_minted(batch) -> when the batch was minted, ms since 1970; 0 if it is unreadable.
--   batch   the stored record. Its JSON begins with the id, a UUIDv7, which holds the time.
-- Worked: batch_minted(<10 bytes> .. '{"id":"019c6652-5e00-7000-8000-000000000007",…') -> 1771243200000
local function batch_minted(batch)
  return tonumber(string.sub(batch, 18, 25) .. string.sub(batch, 27, 30), 16) or 0
end

-- tag_scan(now, state, revocation, batch, counts, today, yesterday)
--          -> new_state, count, first_at, in_30_s, in_60_s, bits
--   now         ms since 1970
--   state       the stored string, or false. The caller has checked with scan_judge that it is readable.
--   revocation  the stored revocation of the tag, or false. It decides; the flag without it counts too.
--   batch       the stored record of the batch
--   counts      boolean, whether this request is a scan
--   today       c5, first bit 0: the caller's mark of today; yesterday: its mark of yesterday
--   new_state   the string to store, false if `counts` is false
--   count       scans so far, including this one if it counts; the same holds for in_30_s and in_60_s
--   first_at    ms since 1970, 0 if the tag was never scanned
--   bits        SCAN_REVOKED_BIT, SCAN_SEEN_BY_OTHERS_BIT. A caller that is not recognised is another one.
-- No stored time is earlier than the mint: if the clock says so, it has stepped back, and the time of the
-- mint is stored instead.
-- Worked: tag_scan(1771243200000, false, false, <batch>, true, 'aaaaa', 'bbbbb')
--   -> <28 bytes>, 1, 1771243200000, 1, 1, 0
local function tag_scan(now, state, revocation, batch, counts, today, yesterday)
  local flags, count, first_at, last_at, a, b, c, caller = 0, 0, 0, 0, 65535, 65535, 65535, false
  local size, since = state and #state or 0, 65535
  if size >= 23 then
    flags, count, first_at, last_at, a, b, c = struct.unpack('>BI4I6I6I2I2I2', state)
    if size == 28 then caller = string.sub(state, 24) end
    if last_at > now + SCAN_AHEAD_MS then now = math.max(now, batch_minted(batch)) end
    if last_at > now + SCAN_AHEAD_MS then
      a, b, c = 65535, 65535, 65535
      first_at = math.min(first_at, now)
    else
      since = math.min(math.max(now - last_at, 0), 65535)
      now = math.max(now, last_at)
    end
  else
    if size == 1 then flags = string.byte(state) end
    now = math.max(now, batch_minted(batch))
    if counts then first_at = now end
  end
  if revocation and flags % 2 == 0 then flags = flags + 1 end

  local others = false
  if count > 0 then
    others = not caller or string.byte(caller) > 127 or (caller ~= today and caller ~= yesterday)
  end
  local in_30, in_60, ago = 0, 0, since
  if counts then in_30, in_60 = 1, 1 end
  for step = 1, 4 do
    if ago < 60000 then in_60 = in_60 + 1 end
    if ago < 30000 then in_30 = in_30 + 1 end
    if step == 1 then ago = ago + a elseif step == 2 then ago = ago + b else ago = ago + c end
  end
  local bits = (flags % 2 == 1 and SCAN_REVOKED_BIT or 0) + (others and SCAN_SEEN_BY_OTHERS_BIT or 0)
  if not counts then return false, count, first_at, in_30, in_60, bits end
  if count < 4294967295 then count = count + 1 end
  local mark = others and string.char(string.byte(today) + 128) .. string.sub(today, 2) or today
  local new_state = struct.pack('>BI4I6I6I2I2I2c5', flags, count, first_at, now, since, a, b, mark)
  return new_state, count, first_at, in_30, in_60, bits
end

-- batch_holds(batch, epoch, index) -> whether the tag was minted in this batch.
--   batch   the stored record, or false
-- Worked: batch_holds(struct.pack('>I4I4I2', 1, 10, 3), 3, 9) -> true
local function batch_holds(batch, epoch, index)
  if not batch or #batch < BATCH_HEAD then return false end
  local _, size, minted_in = struct.unpack('>I4I4I2', batch)
  return minted_in == epoch and index < size
end

-- record_json(record, head) -> the JSON object after the first `head` bytes as a table, nil if it is
-- unreadable. Used only if a process does not hold the record: decoding costs as much as a whole scan.
local function record_json(record, head)
  local read, json = pcall(cjson.decode, string.sub(record, head + 1))
  if read and type(json) == 'table' and type(json.id) == 'string' and type(json.tenant) == 'string' then
    return json
  end
end

-- batch_lost(batch, batch_key, numbers_key, epoch, index) -> whether a tag that its batch's record does not
-- hold was minted nevertheless, so that the record is lost, damaged or of another type.
--   batch        the stored record, or false
--   numbers_key  a hash with a field for each batch ever minted: decimal number -> >I4I2 size and epoch
-- If the two cases cannot be distinguished, the record counts as lost, because a genuine tag must not be
-- called forged.
-- Redis calls: HGET; EXISTS if the hash has no such field.
local function batch_lost(batch, batch_key, numbers_key, epoch, index)
  local numbers = redis.pcall('HGET', numbers_key, string.match(batch_key, '%d+$'))
  if numbers then
    if type(numbers) == 'table' or #numbers ~= 6 then return true end
    local size, minted_in = struct.unpack('>I4I2', numbers)
    return minted_in == epoch and index < size
  end
  if batch then return record_json(batch, BATCH_HEAD) == nil end
  return redis.call('EXISTS', batch_key) == 1
end

-- scan_judge(batch, state, revocation, epoch, index, batch_key, tag_key, revocation_key, numbers_key)
--            -> status, readable
--   batch, state, revocation   the stored strings, false if the key is missing or holds another type
--   *_key                      the keys that hold them; numbers_key as in batch_lost
--   status     SCAN_ANSWERED (the tag was minted), SCAN_NOT_MINTED or SCAN_RECORD_LOST
--   readable   whether the tag's state is readable. If it is not but the tag's revocation is, the tag is
--              reported as revoked and its scans are not counted.
-- Call it before the first write, so that an unreadable record fails only its own scan and is not
-- overwritten.
-- Redis calls: none if the tag was scanned before; EXISTS if not; those of batch_lost if the batch's record
-- does not hold the tag.
local function scan_judge(
  batch, state, revocation, epoch, index, batch_key, tag_key, revocation_key, numbers_key)
  if not batch_holds(batch, epoch, index) then
    local lost = batch_lost(batch, batch_key, numbers_key, epoch, index)
    return lost and SCAN_RECORD_LOST or SCAN_NOT_MINTED, false
  end
  local readable
  if state then
    readable = #state == 28 or #state == 23 or #state == 1
  elseif revocation then
    readable = redis.call('EXISTS', tag_key) == 0
  else
    readable = redis.call('EXISTS', tag_key, revocation_key) == 0
  end
  if readable then return SCAN_ANSWERED, true end
  return revocation and SCAN_ANSWERED or SCAN_RECORD_LOST, false
end

-- record_if_changed(record, revision) -> the record, or '' if it has this revision.
--   record    the stored string, 4 bytes or more
--   revision  integer; SCAN_NO_REVISION matches no record
local function record_if_changed(record, revision)
  if struct.unpack('>I4', record) == revision then return '' end
  return record
end

-- scan_records(batch, product, batch_revision, product_revision) -> newer_batch, newer_product
--   batch             the stored record; it holds the tag
--   product           the stored string, or false; ignored if product_revision is SCAN_PRODUCT_UNKNOWN
--   *_revision        the revision that the process holds, SCAN_NO_REVISION for none. SCAN_PRODUCT_UNKNOWN
--                     if it does not know the product; then it holds no batch either.
--   newer_*           the record, '' if the process holds it; both nil if one is lost or unreadable
-- Redis calls: GET if product_revision is SCAN_PRODUCT_UNKNOWN. The product's key follows from the batch, so
-- it is not among KEYS.
local function scan_records(batch, product, batch_revision, product_revision)
  local newer_batch = record_if_changed(batch, batch_revision)
  local json = newer_batch ~= '' and record_json(batch, BATCH_HEAD)
  if newer_batch ~= '' and not (json and type(json.product_id) == 'string') then return nil end
  if product_revision == SCAN_PRODUCT_UNKNOWN then
    if not json then return nil end
    product, product_revision = redis.pcall('GET', 'vt1:p:' .. json.product_id), SCAN_NO_REVISION
  end
  if type(product) ~= 'string' or #product < PRODUCT_HEAD then return nil end
  local newer_product = record_if_changed(product, product_revision)
  if newer_product ~= '' then
    local product_json = record_json(product, PRODUCT_HEAD)
    local named = product_json and type(product_json.name) == 'string'
    if not (named and type(product_json.brand) == 'string') then
      return nil
    end
  end
  return newer_batch, newer_product
end

-- is_deployment(record, expected) -> whether the stored deployment record (or false) begins with `expected`,
-- which is the beginning of the record that the process has seen.
local function is_deployment(record, expected)
  return record and string.sub(record, 1, #expected) == expected
end
