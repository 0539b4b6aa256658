-- Limits and counts a group of scans in one round trip, one after the other as if each had come by itself. Runs behind the functions of
-- the limiter, of the catalogue, of the audit chain and of API keys.
--
-- KEYS   1 deployment record · 2 audit head, then for each scan: batch record · tag state · product record (any key of the scan when its revision is -2) ·
--        the limiter's for the caller's address: birth record, state · and where a key is shown: the key's record · the limiter's for the key:
--        birth record, state
-- ARGV   1 beginning of the deployment record this process has seen · 2 the fewest audit entries there can be, as it has seen, then for each
--        scan: epoch · index · batch revision the caller holds, -1 for none · product revision the caller holds, -1 for none, -2 when it does not
--        know the product yet · what is shown besides the address: '' nothing, '-' something that can be no key, else the key's digest (32
--        bytes) · the limiter's for the address: see limiter_decide · where a key is shown, the limiter's for the key
-- Reply  an array: empty when the deployment is gone or another, or the audit head is lower; else one element for each scan, in order: a packed
--        string, or an array of it, the batch record and the product record where the caller does not hold both ('' for the one it holds);
--        and after them, where the chain has more entries than ARGV says, its head
--        packed: B status: 0 counted, 2 never minted, 3 denied by the limiter, 4 what is shown is no key in force, 5 the key lacks the scope of
--        partners · B what the scan was limited by: 0 the address, 1 the key · the limiter's 6 + 5 integers as i8 · when the status is 0: I6 now (ms
--        since 1970), I4 count, I6 first_at (ms), B scans in 30 s, B in 60 s, B revoked 0|1 (all big-endian; packed, because turning twenty
--        integers into a reply costs as much as all of the limiter's arithmetic)
-- Worked: one scan without a key, tag 3 of batch 17, never scanned:
--   EVALSHA <sha> 7 vt1:deployment vt1:{audit}:head vt1:b:17 vt1:t:AAARAAAD vt1:b:17 vtrl1:{eu}:born vtrl1:{eu}:ip:192.0.2.1
--     '{"id":"ab"' 7 1 3 -1 -2 '' 1 300000 100 50
--   -> { { <2 + 88 + 19 bytes>, <batch>, '' } }
-- Redis calls: TIME, MGET, one GETRANGE for each key that is known, one SET for each admitted scan, MSET. Complexity: O(scans).
assert(#KEYS >= 7 and #ARGV >= 11, 'limited_scan takes 7 keys and 11 arguments or more')
local now = limiter_now()
local found = redis.call('MGET', unpack(KEYS))
if not is_deployment(found[1], ARGV[1]) then return {} end
local size, least = audit_size(found[2]), tonumber(ARGV[2])
if size < least then return {} end
-- By key, because scans of one group may share a caller or a tag: each must see what the one before it wrote.
local values = {}
for i = 3, #KEYS do values[KEYS[i]] = found[i] end
local replies, counted = {}, {}
-- What became of each key that was shown, by digest: a digest is of one key, and nothing that it is judged by changes in this call.
local judged = {}
local key_at, arg_at = 3, 3
while key_at <= #KEYS do
  local batch, tag_key, product = values[KEYS[key_at]], KEYS[key_at + 1], values[KEYS[key_at + 2]]
  local shown = ARGV[arg_at + 4]
  local limit_key, limit_arg, next_key, next_arg = key_at + 3, arg_at + 5, key_at + 5, arg_at + 9
  local by, refused = '\0', false
  if shown == '-' then
    refused = '\4'
  elseif shown ~= '' then
    local verdict = judged[shown]
    if not verdict then
      local status, _, scopes = access_verify(now, values[KEYS[next_key]], shown)
      verdict = status ~= ACCESS_OK and '\4' or access_has(scopes, ACCESS_SCAN_PARTNER) and '\0' or '\5'
      judged[shown] = verdict
    end
    if verdict == '\0' then
      by, limit_key, limit_arg = '\1', next_key + 1, next_arg
    else
      refused = verdict
    end
    next_key, next_arg = next_key + 3, next_arg + 4
  end
  local keys = { KEYS[limit_key], KEYS[limit_key + 1] }
  local decision = limiter_decide(now, { values[keys[1]], values[keys[2]] }, 1, ARGV, limit_arg)
  limiter_commit(decision, keys)
  limiter_remember(decision, keys, values)
  local ints = decision.reply
  local packed = by .. struct.pack('>i8i8i8i8i8i8i8i8i8i8i8', unpack(ints, 1, 11))
  local reply
  if not decision.allowed then
    reply = '\3' .. packed
  elseif refused then
    reply = refused .. packed
  elseif not batch_holds(batch, tonumber(ARGV[arg_at]), tonumber(ARGV[arg_at + 1])) then
    reply = '\2' .. packed
  else
    local state, count, first_at, in_30, in_60, revoked = tag_scan(now, values[tag_key])
    values[tag_key] = state
    counted[#counted + 1] = tag_key
    counted[#counted + 1] = state
    reply = '\0' .. packed .. struct.pack('>I6I4I6BBB', now, count, first_at, in_30, in_60, revoked)
    local newer_batch = record_if_changed(batch, tonumber(ARGV[arg_at + 2]))
    local newer_product = record_if_changed(product, tonumber(ARGV[arg_at + 3]))
    if newer_batch ~= '' or newer_product ~= '' then reply = { reply, newer_batch, newer_product } end
  end
  replies[#replies + 1] = reply
  key_at, arg_at = next_key, next_arg
end
if #counted > 0 then redis.call('MSET', unpack(counted)) end
if size > least then replies[#replies + 1] = found[2] end
return replies
