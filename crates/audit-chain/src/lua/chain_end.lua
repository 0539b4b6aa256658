-- chain_end.lua: Lua functions that compare the end of the chain with its head.
-- They are assembled behind head.lua and before the scripts that use them.
--
-- chain_end_fault(head, prefix, entries) -> kind, number
--   head     the stored head, '' if there is none
--   prefix   text before a segment's number
--   entries  integer, entries in a full segment
--   kind -1  the chain ends as its head says; number is 0
--         0  the head is malformed; number is 0
--         1  entries follow the head; number says how many
--         2  an entry is missing; number is its seq
--         3  the last entry has another hash than the head; number is its seq
--         4  a segment is not a list; number is the segment's
-- Call: a head of 3 entries and 5 in segment 0: chain_end_fault(head, 'vt1:{audit}:seg:', 4096) -> 1, 2
-- Complexity: O(1): LLEN twice, LINDEX once.
--
-- A segment's number is below 2^41, because audit_size accepts no size above 2^53 - 1, so its text has all
-- digits.
local function chain_end_fault(head, prefix, entries)
  local function length_of(number)
    local length = redis.pcall('LLEN', prefix .. number)
    return type(length) == 'number' and length or nil
  end
  local size = audit_size(head ~= '' and head)
  if size < 0 or (size == 0 and head ~= '') then
    return 0, 0
  end
  local number = math.floor((size - 1) / entries)
  local filled, length = size - number * entries, 0
  if size > 0 then
    length = length_of(number)
    if not length then
      return 4, number
    elseif length < filled then
      return 2, number * entries + length
    elseif string.sub(redis.call('LINDEX', prefix .. number, filled - 1), 1, 32) ~= string.sub(head, 9) then
      return 3, size - 1
    end
    length = length - filled
  end
  local following = length_of(number + 1)
  if not following then
    return 4, number + 1
  elseif length + following > 0 then
    return 1, length + following
  end
  return -1, 0
end

-- stored_head(key) -> the stored head, '' if there is none, '?' (a malformed head) for a key of another type.
-- Complexity: O(1).
local function stored_head(key)
  local head = redis.pcall('GET', key)
  if type(head) == 'table' then
    return '?'
  end
  return head or ''
end

-- hash_of_entry(seq, prefix, entries) -> the hash stored with entry seq, '' if there is no such entry.
-- Complexity: O(1) near the ends of a segment, otherwise O(entries between).
local function hash_of_entry(seq, prefix, entries)
  local element = redis.pcall('LINDEX', prefix .. math.floor(seq / entries), seq % entries)
  return type(element) == 'string' and string.sub(element, 1, 32) or ''
end

-- tail_digest(size, prefix, entries) -> digest of the elements after the head of a chain of `size` entries,
-- in its last segment and in the next one. '' for no elements; each element makes it
-- sha1hex(digest .. sha1hex(element)).
-- Complexity: O(bytes of these elements).
local function tail_digest(size, prefix, entries)
  local digest, last = '', math.floor((size - 1) / entries)
  local function take(key, first)
    repeat
      local page = redis.call('LRANGE', key, first, first + 255)
      for at = 1, #page do
        digest = redis.sha1hex(digest .. redis.sha1hex(page[at]))
      end
      first = first + 256
    until #page < 256
  end
  if size > 0 then
    take(prefix .. last, (size - 1) % entries + 1)
  end
  take(prefix .. last + 1, 0)
  return digest
end
