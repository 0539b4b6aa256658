-- Lua functions for scripts that act on what stands beside the chain without appending to it; assembled into a script by who owns it.
-- By the head such a script tells an older copy of the state, which lacks changes that were acknowledged, from the one its process knows.

-- audit_size(head): head is the stored head or false -> how many entries the chain has: 0 without a head, -1 where it is none.
-- By its number and not as text: Redis compares texts by the rules of the system's language. Lua's numbers are exact up to 2^53: a
-- larger size belongs to no chain.
-- Worked: audit_size(struct.pack('>I8', 7) .. <32 bytes>) -> 7
-- Complexity: O(1).
local function audit_size(head)
  if not head then return 0 end
  if #head ~= 40 then return -1 end
  local high, low = struct.unpack('>I4I4', head)
  if high >= 2097152 then return -1 end
  return high * 4294967296 + low
end
