-- Creates a record, or replaces one that has not changed in between.
--
-- ARGV  stream id, expected old JSON ('' when there must be none), new JSON (a new record's created_epoch is 0 in it and is
--       filled in here), maximum number of records that are not finished (0: no limit), owner of a new record ('': none),
--       maximum number of unfinished records of this owner
-- Returns  {'ok', JSON written} or {'exists', JSON found} or {'gone', ''} or {'full', ''} or {'job', id of the job whose
--          files have such ids} or {'owner_full', ''}

local id, expected, wanted = ARGV[1], ARGV[2], ARGV[3]

-- Unfinished records of an owner. Those that are gone are forgotten here.
local function num_owned(owner)
  local found, number = owners .. ':' .. owner, 0
  for _, each in ipairs(redis.call('SMEMBERS', found)) do
    if redis.call('HGET', owners, each) ~= owner or redis.call('HEXISTS', records, each) == 0 then
      redis.call('SREM', found, each)
    elseif redis.call('HEXISTS', finished, each) == 0 then
      number = number + 1
    end
  end
  return number
end

local found = redis.call('HGET', records, id)
if expected == '' then
  if found then return {'exists', found} end
  local job = string.match(id, '^(.+)%.%d+$')
  if job and redis.call('HEXISTS', jobs, job) == 1 then return {'job', job} end
  local most = tonumber(ARGV[4])
  if most > 0 and redis.call('HLEN', records) - redis.call('HLEN', finished) >= most then return {'full', ''} end
  local owner = ARGV[5] or ''
  if owner ~= '' then
    if num_owned(owner) >= tonumber(ARGV[6]) then return {'owner_full', ''} end
    redis.call('HSET', owners, id, owner)
    redis.call('SADD', owners .. ':' .. owner, id)
  end
  return {'ok', add_record(id, wanted)}
end
if not found then return {'gone', ''} end
if found ~= expected then return {'exists', found} end
redis.call('HSET', records, id, wanted)
note('r', id)
return {'ok', wanted}
