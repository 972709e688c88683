-- Removes a record with what was reported of it. Its owner notices at its next heartbeat.
--
-- KEYS  records, revision, finished, reports
-- ARGV  stream id
-- Returns  1 when it was there

local removed = redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[1])
redis.call('HDEL', KEYS[4], ARGV[1])
if removed == 1 then redis.call('INCR', KEYS[2]) end
return removed
