-- limited_scan.lua: limits and counts a batch of scans in one call. The scans run in order, and each sees
-- what the scans before it wrote. Runs behind limiter.lua, the generated constants (codes.rs), tag_scan.lua,
-- the audit chain's head.lua and access.lua.
--
-- KEYS   1 deployment record · 2 audit head · 3 numbers of all minted batches · 4 the region's birth record;
--        then the batch and product records of all scans, each once, because scans that arrive at the same
--        time often share them;
--        then for each scan: tag state · the tag's revocation · limiter state of the caller's address; and if
--        a key is presented: the key's record · limiter state of the key
-- ARGV   1 prefix of the deployment record that this process has seen (string)
--        2 fewest entries that the audit chain can have (integer), as this process has seen it
--        3 to 7 the limiter's arguments for addresses, 8 to 12 for keys (integers, see limiter_decide)
--        13 number of batch and product records in KEYS (integer)
--        then for each scan: the request, packed by SCAN_LIMITED_REQUEST_LAYOUT: the index in KEYS of its
--        batch record and of its product record (the batch record's if the product is unknown), then as in
--        scan.lua · SCAN_NO_KEY, SCAN_MALFORMED_KEY, or SHA-256 of the presented key (32 bytes)
--        Values that all scans share are sent once, and one scan's numbers in one string, because each
--        further argument costs Redis more than the arithmetic of a scan.
-- Reply  an array. It is empty if the deployment record is missing or another one, or if the audit chain has
--        fewer entries than ARGV[2]. Otherwise it holds one element for each scan, in order: a packed string,
--        or {packed, batch record, product record} if this process lacks one of them ('' for the one it
--        holds). The audit head follows if the chain has more entries than ARGV[2].
--        packed: status (1 byte, any but SCAN_STATE_LOST) · SCAN_BY_ADDRESS or SCAN_BY_KEY (1 byte) · the
--        limiter's 6 + 5 integers, all by SCAN_DECISION_LAYOUT · if the status is SCAN_ANSWERED: the counts,
--        as in scan.lua. It is packed because Redis spends as much time on a reply of twenty integers as on
--        the limiter's arithmetic.
-- Worked: one scan without a key, tag 3 of batch 17, never scanned:
--   EVALSHA <sha> 8 vt1:deployment vt1:{audit}:head vt1:bn vtrl1:{eu}:born vt1:b:17
--     vt1:t:AAARAAAD vt1:tr:AAARAAAD vtrl1:{eu}:ip:192.0.2.1
--     '{"id":"ab"' 7 1 300000 0 100 50 1 300000 0 1000 500 1
--     <35 bytes: 5, 5, 1, 3, -1, -2, 1, 'aaaaa', 'bbbbb'> ''
--   -> { { <2 + 88 + 19 bytes>, <batch>, <product> } }
-- Redis calls: TIME, MGET, one GETRANGE for each key of a tenant, one SET for each admitted scan, MSET, and
-- those of scan_judge and scan_records. Complexity: O(scans).
assert(#KEYS >= 8 and #ARGV >= 15, 'limited_scan takes 8 keys and 15 arguments or more')
local now = limiter_now()
local found = redis.call('MGET', unpack(KEYS))
if not is_deployment(found[1], ARGV[1]) then return {} end
local size, least = audit_size(found[2]), tonumber(ARGV[2])
if size < least then return {} end
-- What this call wrote, by key. Scans of one call may share a caller or a tag, and each must see what the
-- scans before it wrote.
local written = {}
local limiter_keys, limiter_values = { KEYS[4], false }, { found[4], false }
-- The limiter's arguments as numbers, converted once for all scans.
local for_addresses, for_keys = {}, {}
for i = 1, 5 do
  for_addresses[i], for_keys[i] = tonumber(ARGV[i + 2]), tonumber(ARGV[i + 7])
end
local replies, counted = {}, {}
-- The status of each presented key by its digest: SCAN_ANSWERED if it admits. A digest belongs to one key,
-- and this call changes nothing that the verification reads.
local key_statuses = {}
local key_at, arg_at = 5 + tonumber(ARGV[13]), 14
while key_at <= #KEYS do
  local tag_key, revocation_key = KEYS[key_at], KEYS[key_at + 1]
  local state, revocation = written[tag_key], found[key_at + 1]
  if state == nil then state = found[key_at] end
  local batch_at, product_at, epoch, index, batch_revision, product_revision, counts, today, yesterday =
    struct.unpack(SCAN_LIMITED_REQUEST_LAYOUT, ARGV[arg_at])
  local batch, product, presented = found[batch_at], found[product_at], ARGV[arg_at + 1]
  local counted_by, limits, state_at, rejection = SCAN_BY_ADDRESS, for_addresses, key_at + 2, false
  key_at, arg_at = key_at + 3, arg_at + 2
  if presented == SCAN_MALFORMED_KEY then
    rejection = SCAN_KEY_INVALID
  elseif presented ~= SCAN_NO_KEY then
    local key_status = key_statuses[presented]
    if not key_status then
      local status, _, scopes = access_verify(now, found[key_at], presented)
      if status == ACCESS_DAMAGED then
        key_status = SCAN_RECORD_LOST
      elseif status ~= ACCESS_OK then
        key_status = SCAN_KEY_INVALID
      else
        key_status = access_has(scopes, ACCESS_SCAN_PARTNER) and SCAN_ANSWERED or SCAN_KEY_FORBIDDEN
      end
      key_statuses[presented] = key_status
    end
    if key_status == SCAN_ANSWERED then
      counted_by, limits, state_at = SCAN_BY_KEY, for_keys, key_at + 1
    else
      rejection = key_status
    end
    key_at = key_at + 2
  end
  limiter_keys[2], limiter_values[2] = KEYS[state_at], written[KEYS[state_at]]
  if limiter_values[2] == nil then limiter_values[2] = found[state_at] end
  local decision = limiter_decide(now, limiter_values, 1, limits, 1)
  limiter_commit(decision, limiter_keys)
  limiter_remember(decision, limiter_keys, written)
  limiter_values[1] = written[KEYS[4]] or limiter_values[1]
  local d, status, reply = decision.reply, SCAN_DENIED, nil
  if decision.allowed then
    local readable
    status, readable =
      scan_judge(batch, state, revocation, epoch, index, KEYS[batch_at], tag_key, revocation_key, KEYS[3])
    local newer_batch, newer_product
    if status == SCAN_ANSWERED and not rejection then
      newer_batch, newer_product = scan_records(batch, product, batch_revision, product_revision)
      if not newer_batch then status = SCAN_RECORD_LOST end
    end
    if rejection and status ~= SCAN_NOT_MINTED then
      status = rejection
    elseif status == SCAN_ANSWERED then
      local countable = readable and counts == 1
      local new_state, count, first_at, in_30, in_60, bits =
        tag_scan(now, readable and state, revocation, batch, countable, today, yesterday)
      if countable then
        written[tag_key] = new_state
        counted[#counted + 1] = tag_key
        counted[#counted + 1] = new_state
        bits = bits + SCAN_COUNTED_BIT
      end
      reply = struct.pack(
        SCAN_DECISION_AND_COUNTS_LAYOUT, status, counted_by, d[1], d[2], d[3], d[4], d[5], d[6], d[7], d[8],
        d[9], d[10], d[11], now, count, first_at, in_30, in_60, bits
      )
      if newer_batch ~= '' or newer_product ~= '' then reply = { reply, newer_batch, newer_product } end
    end
  end
  replies[#replies + 1] = reply or struct.pack(SCAN_DECISION_LAYOUT, status, counted_by, unpack(d, 1, 11))
end
if #counted > 0 then redis.call('MSET', unpack(counted)) end
if size > least then replies[#replies + 1] = found[2] end
return replies
