-- Replaces the deployment record if it is still what the caller read (a new epoch's check value was added).
-- KEYS: 1 deployment record
-- ARGV: 1 the record as read  2 the record to be
-- Reply: {1, new} replaced; {0, standing or ''} it had changed.
-- Worked: EVAL … 1 vt1:deployment '{"id":"a","tag_checks":{}}' '{"id":"a","tag_checks":{"1":"…"}}' -> {1, …}
-- Complexity: O(1).
assert(#KEYS == 1 and #ARGV == 2, 'amend_deployment takes 1 key and 2 arguments')
local standing = redis.call('GET', KEYS[1])
if standing ~= ARGV[1] then return {0, standing or ''} end
redis.call('SET', KEYS[1], ARGV[2])
return {1, ARGV[2]}
