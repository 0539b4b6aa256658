-- Counts one scan that has been limited elsewhere. Runs behind the functions of the catalogue and of the audit chain.
--
-- KEYS   1 deployment record · 2 audit head · 3 numbers of all minted batches · 4 batch record · 5 tag state · 6 the tag's revocation · 7 product
--        record (any key of this list when its revision is -2)
-- ARGV   1 beginning of the deployment record this process has seen · 2 the fewest audit entries there can be, as this process has seen ·
--        3 packed >I2I4i8i8Bc5c5: epoch, index, batch revision the caller holds, -1 for none, product revision the caller holds, -1 for none,
--        -2 when it does not know the product yet, whether this look is a scan, the caller's mark of today and of yesterday
-- Reply  a packed string, or an array of it, the batch record and the product record where the caller does not hold both ('' for the one it
--        holds), and the audit head where the chain has more entries than ARGV says. packed: B status: 0 answered, 1 the deployment is gone or
--        another or the audit head is lower, 2 never minted, 6 the tag was minted, and what is stored of it, its batch or its product is lost or
--        cannot be read · when the status is 0: I6 now (ms since 1970), I4 count, I6 first_at (ms, 0 never scanned), B scans in 30 s, B in 60 s,
--        B bits: 1 revoked, 2 another caller has scanned it, 4 counted (all big-endian)
-- Worked: EVALSHA <sha> 7 vt1:deployment vt1:{audit}:head vt1:bn vt1:b:17 vt1:t:AAARAAAD vt1:tr:AAARAAAD vt1:b:17
--     '{"id":"ab"' 7 <33 bytes: 1, 3, -1, -2, 1, 'aaaaa', 'bbbbb'>
--   -> { <1 + 19 bytes>, <batch>, <product> }
-- Redis calls: TIME, MGET, SET, and the rare ones of scan_judge and scan_records. Complexity: O(1).
assert(#KEYS == 7 and #ARGV == 3, 'scan takes 7 keys and 3 arguments')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local values = redis.call('MGET', unpack(KEYS))
if not is_deployment(values[1], ARGV[1]) then return '\1' end
local size, least = audit_size(values[2]), tonumber(ARGV[2])
if size < least then return '\1' end
local epoch, index, batch_revision, product_revision, counts, today, yesterday = struct.unpack('>I2I4i8i8Bc5c5', ARGV[3])
local batch, state, revocation = values[4], values[5], values[6]
local held, readable = scan_judge(batch, state, revocation, epoch, index, KEYS[4], KEYS[5], KEYS[6], KEYS[3])
if held ~= SCAN_MINTED then return string.char(held) end
local newer_batch, newer_product = scan_records(batch, values[7], batch_revision, product_revision)
if not newer_batch then return string.char(SCAN_LOST) end
local counted = readable and counts == 1
local new_state, count, first_at, in_30, in_60, bits =
  tag_scan(now, readable and state, revocation, batch, counted, today, yesterday)
if counted then
  redis.call('SET', KEYS[5], new_state)
  bits = bits + 4
end
local reply = '\0' .. struct.pack('>I6I4I6BBB', now, count, first_at, in_30, in_60, bits)
if size > least then return { reply, newer_batch, newer_product, values[2] } end
if newer_batch ~= '' or newer_product ~= '' then return { reply, newer_batch, newer_product } end
return reply
