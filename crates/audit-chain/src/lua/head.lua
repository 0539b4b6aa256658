-- head.lua: a Lua function for scripts that act beside the chain without appending to it.
-- It lets such a script refuse an older copy of the state, which lacks acknowledged changes: the script
-- compares the size of the stored head with the least size that its process knows.
--
-- audit_size(head) -> number of entries; 0 without a head, -1 for a malformed head
--   head  the stored head, or false if there is none
-- Call: audit_size(struct.pack('>I8', 7) .. <32 bytes>) -> 7
-- Complexity: O(1).
--
-- Compare sizes as numbers: Redis compares texts by its locale. Lua's numbers are exact up to 2^53; a larger
-- size is malformed.
local function audit_size(head)
  if not head then return 0 end
  if #head ~= 40 then return -1 end
  local high, low = struct.unpack('>I4I4', head)
  if high >= 2097152 then return -1 end
  return high * 4294967296 + low
end
