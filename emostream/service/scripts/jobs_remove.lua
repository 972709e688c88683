-- Removes a job with all that belongs to it; workers stop its files at their next heartbeat.
--
-- KEYS  jobs, records, revision, finished, reports
-- ARGV  job id
-- Returns  1 when it was there

local jobs, records, revision, finished, reports = unpack(KEYS)
local job = ARGV[1]
if redis.call('HDEL', jobs, job) == 0 then return 0 end
for _, id in ipairs(redis.call('SMEMBERS', jobs .. ':active:' .. job)) do
  redis.call('HDEL', records, id)
  redis.call('HDEL', finished, id)
  redis.call('HDEL', reports, id)
end
for _, part in ipairs({'todo', 'active', 'urls', 'results', 'sums'}) do redis.call('DEL', jobs .. ':' .. part .. ':' .. job) end
redis.call('INCR', revision)
return 1
