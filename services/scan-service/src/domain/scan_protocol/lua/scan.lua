-- scan.lua: counts one scan that was limited elsewhere. Runs behind the generated constants (codes.rs),
-- tag_scan.lua and the audit chain's head.lua.
--
-- KEYS   1 deployment record · 2 audit head · 3 numbers of all minted batches · 4 batch record · 5 tag state
--        · 6 the tag's revocation · 7 product record (any of these keys if the product is unknown)
-- ARGV   1 prefix of the deployment record that this process has seen (string)
--        2 fewest entries that the audit chain can have (integer), as this process has seen it
--        3 request, packed by SCAN_REQUEST_LAYOUT: epoch · index · batch revision that this process holds
--          (SCAN_NO_REVISION for none) · product revision that it holds (SCAN_NO_REVISION, or
--          SCAN_PRODUCT_UNKNOWN) · whether the request is a scan (0 or 1) · the caller's marks of today and
--          yesterday
-- Reply  a packed string; or {packed, batch record, product record} if this process lacks one of them ('' for
--        the one it holds); or {packed, batch record, product record, audit head} if the chain has more
--        entries than ARGV[2]
--        packed: status (1 byte: SCAN_ANSWERED, SCAN_STATE_LOST, SCAN_NOT_MINTED or SCAN_RECORD_LOST), then
--        if the status is SCAN_ANSWERED the counts by SCAN_COUNTS_LAYOUT: now (ms since 1970) · count ·
--        first scan (ms since 1970, 0 for never) · scans in 30 s · scans in 60 s · bits: SCAN_REVOKED_BIT,
--        SCAN_SEEN_BY_OTHERS_BIT, SCAN_COUNTED_BIT
-- Worked: EVALSHA <sha> 7 vt1:deployment vt1:{audit}:head vt1:bn vt1:b:17 vt1:t:AAARAAAD vt1:tr:AAARAAAD
--     vt1:b:17 '{"id":"ab"' 7 <33 bytes: 1, 3, -1, -2, 1, 'aaaaa', 'bbbbb'>
--   -> { <1 + 19 bytes>, <batch>, <product> }
-- Redis calls: TIME, MGET, SET, and those of scan_judge and scan_records. Complexity: O(1).
assert(#KEYS == 7 and #ARGV == 3, 'scan takes 7 keys and 3 arguments')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local values = redis.call('MGET', unpack(KEYS))
if not is_deployment(values[1], ARGV[1]) then return SCAN_STATE_LOST end
local size, least = audit_size(values[2]), tonumber(ARGV[2])
if size < least then return SCAN_STATE_LOST end
local epoch, index, batch_revision, product_revision, counts, today, yesterday =
  struct.unpack(SCAN_REQUEST_LAYOUT, ARGV[3])
local batch, state, revocation = values[4], values[5], values[6]
local status, readable =
  scan_judge(batch, state, revocation, epoch, index, KEYS[4], KEYS[5], KEYS[6], KEYS[3])
if status ~= SCAN_ANSWERED then return status end
local newer_batch, newer_product = scan_records(batch, values[7], batch_revision, product_revision)
if not newer_batch then return SCAN_RECORD_LOST end
local counted = readable and counts == 1
local new_state, count, first_at, in_30, in_60, bits =
  tag_scan(now, readable and state, revocation, batch, counted, today, yesterday)
if counted then
  redis.call('SET', KEYS[5], new_state)
  bits = bits + SCAN_COUNTED_BIT
end
local reply = SCAN_ANSWERED .. struct.pack(SCAN_COUNTS_LAYOUT, now, count, first_at, in_30, in_60, bits)
if size > least then return { reply, newer_batch, newer_product, values[2] } end
if newer_batch ~= '' or newer_product ~= '' then return { reply, newer_batch, newer_product } end
return reply
