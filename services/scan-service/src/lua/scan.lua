-- Counts one scan that has been limited elsewhere. Runs behind the functions of the catalogue and of the audit chain.
--
-- KEYS   1 deployment record · 2 batch record · 3 tag state · 4 product record (any key of this list when revision is -2) · 5 audit head
-- ARGV   1 beginning of the deployment record this process has seen · 2 packed >I2I4i8i8: epoch, index, batch revision the caller holds, -1 for none,
--        product revision the caller holds, -1 for none, -2 when it does not know the product yet · 3 the fewest audit entries there can be, as
--        this process has seen
-- Reply  a packed string, or an array of it, the batch record and the product record where the caller does not hold both ('' for the one it
--        holds), and the audit head where the chain has more entries than ARGV says. packed: B status: 0 counted, 1 the deployment is gone or another
--        or the audit head is lower, 2 never minted, 6 what is stored of the tag, its batch or its product cannot be read · when the status is 0: I6 now (ms since 1970),
--        I4 count, I6 first_at (ms), B scans in 30 s, B in 60 s, B revoked 0|1 (all big-endian)
-- Worked: EVALSHA <sha> 5 vt1:deployment vt1:b:17 vt1:t:AAARAAAD vt1:b:17 vt1:{audit}:head  '{"id":"ab"' <22 bytes: 1, 3, -1, -2> 7
--   -> { <1 + 19 bytes>, <batch>, '' }
-- Redis calls: TIME, MGET, SET. Complexity: O(1).
assert(#KEYS == 5 and #ARGV == 3, 'scan takes 5 keys and 3 arguments')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local values = redis.call('MGET', unpack(KEYS))
if not is_deployment(values[1], ARGV[1]) then return '\1' end
local size, least = audit_size(values[5]), tonumber(ARGV[3])
if size < least then return '\1' end
local epoch, index, batch_revision, product_revision = struct.unpack('>I2I4i8i8', ARGV[2])
local held = scan_judge(values[2], values[3], values[4], product_revision, epoch, index)
if held ~= SCAN_MINTED then return string.char(held) end
local state, count, first_at, in_30, in_60, revoked = tag_scan(now, values[3])
redis.call('SET', KEYS[3], state)
local reply = '\0' .. struct.pack('>I6I4I6BBB', now, count, first_at, in_30, in_60, revoked)
local newer_batch = record_if_changed(values[2], batch_revision)
local newer_product = record_if_changed(values[4], product_revision)
if size > least then return { reply, newer_batch, newer_product, values[5] } end
if newer_batch ~= '' or newer_product ~= '' then return { reply, newer_batch, newer_product } end
return reply
