-- Lua functions for counting a scan; assembled into a script by whatever scans or asks whether a tag was minted.
--
-- A tag's state is a packed string of 28 bytes; of 23, without `caller`, while nobody has scanned the tag since callers are
-- recognised; or its first byte alone while the tag was never scanned:
--   B  flags      bit 0: revoked. Whoever revokes writes the whole byte.
--   I4 count      scans so far
--   I6 first_at   ms since 1970
--   I6 last_at    ms since 1970
--   I2 I2 I2      ms between the last four scans, newest first, 65535 for "that or more"
--   c5 caller     first bit: more than one caller has scanned the tag; then 39 bits: the mark of the one that has (see tag_scan)
-- Five scans in 60 s are the most that a risk factor looks at, so four earlier times are enough. 28 bytes fill the allocation
-- that 23 need.
-- Complexity: O(1).

-- A clock further behind than this has been ahead when the state was written: how long ago its scans were is not known then.
local SCAN_AHEAD_MS = 60000
-- Bytes before the JSON of a batch record: I4 revision, I4 size, I2 epoch; of a product record: I4 revision.
local BATCH_HEAD, PRODUCT_HEAD = 10, 4

-- batch_minted(batch): when the batch was minted, ms since 1970: the time in its id (UUIDv7), the first member of the record's
-- JSON; 0 where there is none to be read.
-- Worked: batch_minted(<10 bytes> .. '{"id":"019c6652-5e00-7000-8000-000000000007",…') -> 1771243200000
local function batch_minted(batch)
  return tonumber(string.sub(batch, 18, 25) .. string.sub(batch, 27, 30), 16) or 0
end

-- tag_scan(now, state, revocation, batch, counts, today, yesterday)
--   state       the stored string or false; what scan_judge calls lost must not come here
--   revocation  the stored record of why the tag is revoked, or false. It decides; a flag without it counts too.
--   batch       the stored record of its batch
--   counts      whether this look is a scan
--   today       5 bytes, first bit 0: the caller's mark of today; yesterday: the one it had then
--   -> new_state (of a look that counts), count, first_at (0: never scanned), in_30_s, in_60_s, bits: 1 revoked, 2 another caller has
--   scanned it. A scan is counted in each. A caller that is not recognised counts as another.
-- No time from before the batch was minted is stored: a clock that says so has stepped back, and the mint's time is taken.
-- Worked: tag_scan(1771243200000, false, false, <batch>, true, 'aaaaa', 'bbbbb') -> <28 bytes>, 1, 1771243200000, 1, 1, 0
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
  local bits = flags % 2 + (others and 2 or 0)
  if not counts then return false, count, first_at, in_30, in_60, bits end
  if count < 4294967295 then count = count + 1 end
  local mark = others and string.char(string.byte(today) + 128) .. string.sub(today, 2) or today
  local new_state = struct.pack('>BI4I6I6I2I2I2c5', flags, count, first_at, now, since, a, b, mark)
  return new_state, count, first_at, in_30, in_60, bits
end

-- batch_holds(batch, epoch, index): batch is the stored record or false -> true when the tag was minted.
-- Worked: batch_holds(struct.pack('>I4I4I2', 1, 10, 3), 3, 9) -> true
local function batch_holds(batch, epoch, index)
  if not batch or #batch < BATCH_HEAD then return false end
  local _, size, minted_in = struct.unpack('>I4I4I2', batch)
  return minted_in == epoch and index < size
end

-- record_json(record, head): the JSON object behind the first `head` bytes as a table, or nil when it cannot be read. Only for the
-- rare case that a record is new to somebody: decoding costs as much as a whole scan.
local function record_json(record, head)
  local read, json = pcall(cjson.decode, string.sub(record, head + 1))
  if read and type(json) == 'table' and type(json.id) == 'string' and type(json.tenant) == 'string' then return json end
end

-- batch_lost(batch, batch_key, numbers_key, epoch, index): for a tag that its batch's stored record (or false) does not hold: whether it
-- was minted all the same, and the record is lost, damaged or of another type.
--   numbers_key  a hash with a field for each batch that was ever minted: its number, decimal -> >I4I2 size and epoch
-- What cannot be told apart counts as lost: a genuine tag must not be called forged.
-- Redis calls: HGET, and EXISTS where the batch is not in the hash.
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

-- What scan_judge says. Asked before anything is written: a record that cannot be read must fail its own scan alone, and be overwritten by none.
local SCAN_MINTED, SCAN_NOT_MINTED, SCAN_LOST = 0, 2, 6

-- scan_judge(batch, state, revocation, epoch, index, batch_key, tag_key, revocation_key, numbers_key)
--   the stored strings, or false where there is none or a value of another type; and the keys that they are from
--   -> SCAN_MINTED, SCAN_NOT_MINTED or SCAN_LOST: it was minted and cannot be read; and whether the state can be read: where it
--   cannot and the tag's revocation stands, the tag is revoked all the same, and its scans are not counted
-- Redis calls: none for a tag that was scanned before; EXISTS for one that was not; those of batch_lost for one that the batch does not hold.
local function scan_judge(batch, state, revocation, epoch, index, batch_key, tag_key, revocation_key, numbers_key)
  if not batch_holds(batch, epoch, index) then
    return batch_lost(batch, batch_key, numbers_key, epoch, index) and SCAN_LOST or SCAN_NOT_MINTED, false
  end
  local readable
  if state then
    readable = #state == 28 or #state == 23 or #state == 1
  elseif revocation then
    readable = redis.call('EXISTS', tag_key) == 0
  else
    readable = redis.call('EXISTS', tag_key, revocation_key) == 0
  end
  if readable then return SCAN_MINTED, true end
  return revocation and SCAN_MINTED or SCAN_LOST, false
end

-- record_if_changed(record, revision): record is the stored string (4 bytes or more); revision -1 asks for it in any case.
--   -> the record, or '' when it has that revision.
local function record_if_changed(record, revision)
  if struct.unpack('>I4', record) == revision then return '' end
  return record
end

-- scan_records(batch, product, batch_revision, product_revision): the records that the caller does not hold, of a batch that holds the tag.
--   product           the stored string, or false; anything where product_revision is -2
--   product_revision  -1 for none, -2 when the caller does not know which product it is (then it holds no batch either)
--   -> batch, product ('' for the one the caller holds); nothing when one is lost or cannot be read
-- Redis calls: GET when product_revision is -2; the product's key follows from the batch, so it is not among KEYS.
local function scan_records(batch, product, batch_revision, product_revision)
  local newer_batch = record_if_changed(batch, batch_revision)
  local facts = newer_batch ~= '' and record_json(batch, BATCH_HEAD)
  if newer_batch ~= '' and not (facts and type(facts.product_id) == 'string') then return nil end
  if product_revision == -2 then
    if not facts then return nil end
    product, product_revision = redis.pcall('GET', 'vt1:p:' .. facts.product_id), -1
  end
  if type(product) ~= 'string' or #product < PRODUCT_HEAD then return nil end
  local newer_product = record_if_changed(product, product_revision)
  if newer_product ~= '' then
    local json = record_json(product, PRODUCT_HEAD)
    if not (json and type(json.name) == 'string' and type(json.brand) == 'string') then return nil end
  end
  return newer_batch, newer_product
end

-- is_deployment(record, expected): whether the deployment record begins with what this process has seen.
local function is_deployment(record, expected)
  return record and string.sub(record, 1, #expected) == expected
end
