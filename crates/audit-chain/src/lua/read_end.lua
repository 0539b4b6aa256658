-- read_end.lua: reads the head, and whether the chain ends there, as of one moment.
-- It is assembled behind head.lua and chain_end.lua.
--
-- KEYS[1]  head              string, u64be(size) .. hash(32)
-- ARGV[1]  segment prefix    text; the key of segment k is this .. k
-- ARGV[2]  segment entries   integer, entries in a full segment
-- ARGV[3]  size              integer, entries in the highest head that the caller has seen, 0 for none
-- Reply: {head, hash, kind, number}: the head (empty: none), the hash stored with the last entry of the head
--        that the caller has seen (empty: none), and the result of chain_end_fault
-- Call: EVALSHA .. 1 vt1:{audit}:head vt1:{audit}:seg: 4096 0 -> {<40 bytes>, '', -1, 0}
-- Complexity: O(1), plus the steps to the seen entry in its segment.
if #KEYS ~= 1 or #ARGV ~= 3 or not tonumber(ARGV[2]) or not tonumber(ARGV[3]) then
  return redis.error_reply('ERR read_end takes 1 key and 3 arguments')
end
local prefix, entries, seen = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local head = stored_head(KEYS[1])
local kind, number = chain_end_fault(head, prefix, entries)
return { head, seen > 0 and hash_of_entry(seen - 1, prefix, entries) or '', kind, number }
