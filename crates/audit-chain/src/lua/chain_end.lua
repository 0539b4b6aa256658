-- Lua functions that compare the end of the chain with its head; assembled behind head.lua and in front of the scripts that rely on it.
--
-- chain_end_fault(head, prefix, entries): head is the stored head or '' where there is none, prefix what stands before a segment's
-- number, entries how many a full segment has -> -1 where the chain ends as its head says, else what is wrong and a number:
--   0 the head is no head · 1 so many entries stand behind the head · 2 this entry (its seq) is missing · 3 the last entry has another
--   hash than the head · 4 the segment of this number is no list
-- Worked: with a head of 3 entries and 5 in segment 0: chain_end_fault(head, 'vt1:{audit}:seg:', 4096) -> 1, 2
-- Redis calls: LLEN twice, LINDEX. Complexity: O(1).
-- A segment's number stays below 2^41, since audit_size takes no larger size than 2^53 - 1: as a text it has all of its digits.
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

-- stored_head(key): the stored head, '' where there is none; a key of another type is no head, as is '?'.
local function stored_head(key)
  local head = redis.pcall('GET', key)
  if type(head) == 'table' then
    return '?'
  end
  return head or ''
end

-- hash_of_entry(seq, prefix, entries): the hash that is stored with entry seq, or '' where there is none.
-- Complexity: O(1) near the ends of a segment, else O(the entries between).
local function hash_of_entry(seq, prefix, entries)
  local element = redis.pcall('LINDEX', prefix .. math.floor(seq / entries), seq % entries)
  return type(element) == 'string' and string.sub(element, 1, 32) or ''
end

-- tail_digest(size, prefix, entries): of what stands behind the head of a chain of `size` entries, in its last segment and the one that
-- follows: '' of nothing, else each element in turn makes sha1hex(digest .. sha1hex(element)).
-- Complexity: O(bytes of the tail).
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
