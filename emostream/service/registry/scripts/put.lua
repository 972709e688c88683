-- Creates a record, or replaces one that has not changed in between.
--
-- ARGV  stream id, expected old JSON ('' when there must be none), new JSON (a new record's created_epoch is 0 in it and is
--       filled in here), maximum number of records that are not finished (0: no limit)
-- Returns  {'ok', JSON written} or {'exists', JSON found} or {'gone', ''} or {'full', ''} or {'job', id of the job whose
--          files have such ids}

local id, expected, wanted = ARGV[1], ARGV[2], ARGV[3]
local found = redis.call('HGET', records, id)
if expected == '' then
  if found then return {'exists', found} end
  local job = string.match(id, '^(.+)%.%d+$')
  if job and redis.call('HEXISTS', jobs, job) == 1 then return {'job', job} end
  local most = tonumber(ARGV[4])
  if most > 0 and redis.call('HLEN', records) - redis.call('HLEN', finished) >= most then return {'full', ''} end
  return {'ok', add_record(id, wanted)}
end
if not found then return {'gone', ''} end
if found ~= expected then return {'exists', found} end
redis.call('HSET', records, id, wanted)
note('r', id)
return {'ok', wanted}
