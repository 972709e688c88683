-- Creates a record, or replaces one that did not change meanwhile.
--
-- KEYS  records, revision, epoch, finished, reports
-- ARGV  stream id, expected old JSON ('' when there must be none), new JSON (a new record's created_epoch is 0 in it and is
--       filled in here), most records allowed (0: any number)
-- Returns  {'ok', JSON written} or {'exists', JSON found} or {'gone', ''} or {'full', ''}

local records, revision, last_epoch, finished, reports = unpack(KEYS)
local id, expected, wanted = ARGV[1], ARGV[2], ARGV[3]
local found = redis.call('HGET', records, id)
if expected == '' then
  if found then return {'exists', found} end
  local most = tonumber(ARGV[4])
  if most > 0 and redis.call('HLEN', records) >= most then return {'full', ''} end
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local token = string.format('%.0f', math.max(tonumber(redis.call('GET', last_epoch) or '0') + 1, now))
  redis.call('SET', last_epoch, token)
  wanted = string.gsub(wanted, '"created_epoch":0,', '"created_epoch":' .. token .. ',', 1)
  redis.call('HDEL', finished, id)
  redis.call('HDEL', reports, id)
elseif not found then
  return {'gone', ''}
elseif found ~= expected then
  return {'exists', found}
end
redis.call('HSET', records, id, wanted)
redis.call('INCR', revision)
return {'ok', wanted}
