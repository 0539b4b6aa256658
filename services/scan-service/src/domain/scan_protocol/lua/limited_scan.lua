-- Limits and counts a group of scans in one round trip, one after the other as if each had come by itself. Runs behind the functions of
-- the limiter, of the catalogue, of the audit chain and of API keys.
--
-- KEYS   1 deployment record · 2 audit head · 3 numbers of all minted batches · 4 the region's birth record, then for each scan: batch record ·
--        tag state · the tag's revocation · product record (any key of the scan when its revision is -2) · the limiter's state of the caller's
--        address · and where a key is shown: the key's record · the limiter's state of the key
-- ARGV   1 beginning of the deployment record this process has seen · 2 the fewest audit entries there can be, as it has seen · 3 to 7 the
--        limiter's for addresses, 8 to 12 for keys: see limiter_decide; then for each scan: packed >I2I4i8i8Bc5c5 epoch, index, batch revision the
--        caller holds, -1 for none, product revision the caller holds, -1 for none, -2 when it does not know the product yet, whether this look is
--        a scan, the caller's mark of today and of yesterday · what is shown besides the address: '' nothing, '-' something that can be no key,
--        else the key's digest (32 bytes)
--        What all scans have in common is given once, and the numbers of one scan in one string: each further argument costs more than a sum.
-- Reply  an array: empty when the deployment is gone or another, or the audit head is lower; else one element for each scan, in order: a packed
--        string, or an array of it, the batch record and the product record where the caller does not hold both ('' for the one it holds);
--        and after them, where the chain has more entries than ARGV says, its head
--        packed: B status: 0 answered, 2 never minted, whatever is shown, 3 denied by the limiter, 4 what is shown is no key in force, 5 the key
--        lacks the scope of partners, 6 the tag was minted, and what is stored of it, its batch or its product, or of the key's tenant, is lost or
--        cannot be read · B what the scan was limited by: 0 the address, 1 the key · the limiter's 6 + 5 integers as i8 · when the status is 0:
--        I6 now (ms since 1970), I4 count, I6 first_at (ms, 0 never scanned), B scans in 30 s, B in 60 s, B bits: 1 revoked, 2 another caller has
--        scanned it, 4 counted (all big-endian; packed, because turning twenty integers into a reply costs as much as all of the limiter's
--        arithmetic)
-- Worked: one scan without a key, tag 3 of batch 17, never scanned:
--   EVALSHA <sha> 9 vt1:deployment vt1:{audit}:head vt1:bn vtrl1:{eu}:born vt1:b:17 vt1:t:AAARAAAD vt1:tr:AAARAAAD vt1:b:17 vtrl1:{eu}:ip:192.0.2.1
--     '{"id":"ab"' 7 1 300000 0 100 50 1 300000 0 1000 500 <33 bytes: 1, 3, -1, -2, 1, 'aaaaa', 'bbbbb'> ''
--   -> { { <2 + 88 + 19 bytes>, <batch>, <product> } }
-- Redis calls: TIME, MGET, one GETRANGE for each key that is known, one SET for each admitted scan, MSET, and the rare ones of scan_judge and
-- scan_records. Complexity: O(scans).
assert(#KEYS >= 9 and #ARGV >= 14, 'limited_scan takes 9 keys and 14 arguments or more')
local now = limiter_now()
local found = redis.call('MGET', unpack(KEYS))
if not is_deployment(found[1], ARGV[1]) then return {} end
local size, least = audit_size(found[2]), tonumber(ARGV[2])
if size < least then return {} end
-- By key, because scans of one group may share a caller or a tag: each must see what the one before it wrote.
local values = {}
for i = 4, #KEYS do values[KEYS[i]] = found[i] end
-- As numbers, once for all scans.
local for_addresses, for_keys = {}, {}
for i = 1, 5 do
  for_addresses[i], for_keys[i] = tonumber(ARGV[i + 2]), tonumber(ARGV[i + 7])
end
local replies, counted = {}, {}
-- What became of each key that was shown, by digest: a digest is of one key, and nothing that it is judged by changes in this call.
local judged = {}
local key_at, arg_at = 5, 13
while key_at <= #KEYS do
  local batch_key, tag_key, revocation_key = KEYS[key_at], KEYS[key_at + 1], KEYS[key_at + 2]
  local batch, state, revocation, product = values[batch_key], values[tag_key], values[revocation_key], values[KEYS[key_at + 3]]
  local epoch, index, batch_revision, product_revision, counts, today, yesterday =
    struct.unpack('>I2I4i8i8Bc5c5', ARGV[arg_at])
  local shown = ARGV[arg_at + 1]
  local by, limits, state_key, refused = '\0', for_addresses, KEYS[key_at + 4], false
  key_at, arg_at = key_at + 5, arg_at + 2
  if shown == '-' then
    refused = '\4'
  elseif shown ~= '' then
    local verdict = judged[shown]
    if not verdict then
      local status, _, scopes = access_verify(now, values[KEYS[key_at]], shown)
      if status == ACCESS_DAMAGED then
        verdict = '\6'
      elseif status ~= ACCESS_OK then
        verdict = '\4'
      else
        verdict = access_has(scopes, ACCESS_SCAN_PARTNER) and '\0' or '\5'
      end
      judged[shown] = verdict
    end
    if verdict == '\0' then
      by, limits, state_key = '\1', for_keys, KEYS[key_at + 1]
    else
      refused = verdict
    end
    key_at = key_at + 2
  end
  local keys = { KEYS[4], state_key }
  local decision = limiter_decide(now, { values[KEYS[4]], values[state_key] }, 1, limits, 1)
  limiter_commit(decision, keys)
  limiter_remember(decision, keys, values)
  local packed = by .. struct.pack('>i8i8i8i8i8i8i8i8i8i8i8', unpack(decision.reply, 1, 11))
  local reply
  if not decision.allowed then
    reply = '\3' .. packed
  else
    local held, readable =
      scan_judge(batch, state, revocation, epoch, index, batch_key, tag_key, revocation_key, KEYS[3])
    local newer_batch, newer_product
    if held == SCAN_MINTED and not refused then
      newer_batch, newer_product = scan_records(batch, product, batch_revision, product_revision)
      if not newer_batch then held = SCAN_LOST end
    end
    if refused and held ~= SCAN_NOT_MINTED then
      reply = refused .. packed
    elseif held ~= SCAN_MINTED then
      reply = string.char(held) .. packed
    else
      local countable = readable and counts == 1
      local new_state, count, first_at, in_30, in_60, bits =
        tag_scan(now, readable and state, revocation, batch, countable, today, yesterday)
      if countable then
        values[tag_key] = new_state
        counted[#counted + 1] = tag_key
        counted[#counted + 1] = new_state
        bits = bits + 4
      end
      reply = '\0' .. packed .. struct.pack('>I6I4I6BBB', now, count, first_at, in_30, in_60, bits)
      if newer_batch ~= '' or newer_product ~= '' then reply = { reply, newer_batch, newer_product } end
    end
  end
  replies[#replies + 1] = reply
end
if #counted > 0 then redis.call('MSET', unpack(counted)) end
if size > least then replies[#replies + 1] = found[2] end
return replies
