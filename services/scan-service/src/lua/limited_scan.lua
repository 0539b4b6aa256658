-- Limits and counts a group of scans in one round trip, one after the other as if each had come by itself. Runs behind the functions of
-- the limiter and of the catalogue.
--
-- KEYS   1 deployment record, then for each scan: batch record · tag state · product record (any key of the scan when its revision is -2) ·
--        the limiter's: birth record, then one state per dimension
-- ARGV   1 beginning of the deployment record this process has seen, then for each scan: epoch · index · batch revision the caller holds, -1 for
--        none · product revision the caller holds, -1 for none, -2 when it does not know the product yet · the limiter's: see limiter_decide
-- Reply  an array: empty when the deployment is gone or another; else one element for each scan, in order: a packed string, or an array of
--        it, the batch record and the product record where the caller does not hold both ('' for the one it holds)
--        packed: B status: 0 counted, 2 never minted, 3 denied by the limiter · the limiter's 6 + 5n integers as i8 · when the status is 0: I6 now (ms
--        since 1970), I4 count, I6 first_at (ms), B scans in 30 s, B in 60 s, B revoked 0|1 (all big-endian; packed, because turning twenty
--        integers into a reply costs as much as all of the limiter's arithmetic)
-- Worked: one scan, 1 dimension, tag 3 of batch 17, never scanned:
--   EVALSHA <sha> 6 vt1:deployment vt1:b:17 vt1:t:AAARAAAD vt1:b:17 vtrl1:{eu}:born vtrl1:{eu}:ip:192.0.2.1  '{"id":"ab"' 1 3 -1 -2 1 300000 100 50
--   -> { { <1 + 88 + 19 bytes>, <batch>, '' } }
-- Redis calls: TIME, MGET, one SET for each admitted scan's dimension, MSET. Complexity: O(scans).
assert(#KEYS >= 6 and #ARGV >= 9, 'limited_scan takes 6 keys and 9 arguments or more')
local now = limiter_now()
local found = redis.call('MGET', unpack(KEYS))
if not is_deployment(found[1], ARGV[1]) then return {} end
-- By key, because scans of one group may share a caller or a tag: each must see what the one before it wrote.
local values = {}
for i = 2, #KEYS do values[KEYS[i]] = found[i] end
local replies, counted = {}, {}
local key_at, arg_at = 2, 2
while key_at <= #KEYS do
  local batch, tag_key, product = values[KEYS[key_at]], KEYS[key_at + 1], values[KEYS[key_at + 2]]
  local dimensions = tonumber(ARGV[arg_at + 4])
  local keys, own = {}, {}
  for i = 1, dimensions + 1 do
    keys[i] = KEYS[key_at + 2 + i]
    own[i] = values[keys[i]]
  end
  local decision = limiter_decide(now, own, 1, ARGV, arg_at + 4)
  limiter_commit(decision, keys)
  limiter_remember(decision, keys, values)
  local ints = decision.reply
  local packed = struct.pack('>i8i8i8i8i8i8', unpack(ints, 1, 6))
  for first = 7, #ints, 5 do
    packed = packed .. struct.pack('>i8i8i8i8i8', unpack(ints, first, first + 4))
  end
  local reply
  if not decision.allowed then
    reply = '\3' .. packed
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
  key_at = key_at + 4 + dimensions
  arg_at = decision.next_arg
end
if #counted > 0 then redis.call('MSET', unpack(counted)) end
return replies
