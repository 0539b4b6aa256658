-- Limits and counts one scan in one round trip. Runs behind the functions of the limiter and of the catalogue.
--
-- KEYS   1 deployment record · 2 batch record · 3 tag state · 4 product record (any key of this list when revision is -2)
--        5 .. the limiter's: birth record, then one state per dimension
-- ARGV   1 beginning of the deployment record this process has seen · 2 epoch · 3 index · 4 batch revision the caller holds, -1 for none
--        5 product revision the caller holds, -1 for none, -2 when it does not know the product yet
--        6 .. the limiter's: see limiter_decide
-- Reply  an array: 1 status: 0 counted, 1 the deployment is gone or another, 2 never minted, 3 denied by the limiter
--        2 packed, unless the status is 1: the limiter's 6 + 5n integers as i8 (big-endian); then, when the status is 0, the scan as
--          I6 now (ms since 1970), I4 count, I6 first_at (ms), B scans in 30 s, B in 60 s, B revoked 0|1
--        3 batch record and 4 product record, when the status is 0: '' where the caller holds them already
--        (packed, because converting twenty integers to a reply costs as much as all of the limiter's arithmetic)
-- Worked: 1 dimension, tag 3 of batch 17, never scanned:
--   EVALSHA <sha> 6 vt1:deployment vt1:b:17 vt1:t:AAARAAAD vt1:b:17 vtrl1:{eu}:born vtrl1:{eu}:ip:192.0.2.1  '{"id":"ab"' 1 3 -1 -2 1 300000 100 50
--   -> 0  <88 + 19 bytes>  <batch>  ''
-- Redis calls: TIME, MGET, two SET. Complexity: O(1) when admitted.
assert(#KEYS >= 6 and #ARGV >= 9, 'limited_scan takes 6 keys and 9 arguments or more')
local now = limiter_now()
local values = redis.call('MGET', unpack(KEYS))
if not is_deployment(values[1], ARGV[1]) then return { 1 } end
local decision = limiter_decide(now, values, 5, ARGV, 6)
limiter_commit(decision, KEYS)
local ints = decision.reply
local packed = struct.pack('>i8i8i8i8i8i8', unpack(ints, 1, 6))
for first = 7, #ints, 5 do
  packed = packed .. struct.pack('>i8i8i8i8i8', unpack(ints, first, first + 4))
end
if not decision.allowed then return { 3, packed } end
if not batch_holds(values[2], tonumber(ARGV[2]), tonumber(ARGV[3])) then return { 2, packed } end
local state, count, first_at, in_30, in_60, revoked = tag_scan(now, values[3])
redis.call('SET', KEYS[3], state)
return {
  0, packed .. struct.pack('>I6I4I6BBB', now, count, first_at, in_30, in_60, revoked),
  record_if_changed(values[2], tonumber(ARGV[4])), record_if_changed(values[4], tonumber(ARGV[5])),
}
