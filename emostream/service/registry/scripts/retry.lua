-- Restarts a failed stream without its earlier reports. Published events are kept.
--
-- ARGV  stream id
-- Returns  'ok', 'gone' when there is no such stream, or its final state ('' when it has none)

local id = ARGV[1]
if redis.call('HEXISTS', records, id) == 0 then return 'gone' end
local state = redis.call('HGET', finished, id) or ''
if state ~= 'failed' then return state end
redis.call('HDEL', finished, id)
redis.call('HDEL', verdicts, id)
redis.call('HDEL', openings, id)
note('s', id)
return 'ok'
