-- Writes back what a worker knows, after the server lost its data or a part of it.
--
-- ARGV  1 when the worker's knowledge is newer than what the server has, else 0; an epoch that was issued already; number of
--       deleted streams, then for each: stream id, epoch up to which it is deleted; then for each record: stream id, JSON, final
--       state or ''
-- Returns  number of records written
--
-- A stream that was deleted stays deleted, whichever worker comes first. What others have created meanwhile stays.

local is_newer, num_deleted = ARGV[1] == '1', tonumber(ARGV[3])
if tonumber(ARGV[2]) > tonumber(redis.call('GET', last_epoch) or '0') then redis.call('SET', last_epoch, ARGV[2]) end
for i = 4, 3 + 2 * num_deleted, 2 do
  local id, epoch = ARGV[i], tonumber(ARGV[i + 1])
  local record = redis.call('HGET', records, id)
  if record and created_in(record) <= epoch then remove_record(id) end
  bury(id, epoch)
end

local function write(id, text, state)
  local found = redis.call('HGET', records, id)
  if found and not (is_newer and created_in(found) <= created_in(text)) then return 0 end
  if not found and created_in(text) <= (tonumber(redis.call('ZSCORE', deleted, id) or '') or -1) then return 0 end
  local is_same = found == text and (redis.call('HGET', finished, id) or '') == state
  if is_same then return 0 end
  redis.call('HSET', records, id, text)
  if state == '' then redis.call('HDEL', finished, id) else redis.call('HSET', finished, id, state) end
  note('r', id)
  note('s', id)
  return 1
end

local num_written = 0
for i = 4 + 2 * num_deleted, #ARGV, 3 do num_written = num_written + write(ARGV[i], ARGV[i + 1], ARGV[i + 2]) end
return num_written
