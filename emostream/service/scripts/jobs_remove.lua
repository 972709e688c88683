-- Removes a job with all that belongs to it; workers stop its files at their next heartbeat.
--
-- ARGV  job id
-- Returns  1 when it was there

local job = ARGV[1]
if redis.call('HDEL', jobs, job) == 0 then return 0 end
for _, id in ipairs(redis.call('SMEMBERS', jobs .. ':active:' .. job)) do remove_record(id) end
for _, part in ipairs({'todo', 'active', 'urls', 'results', 'sums'}) do redis.call('DEL', jobs .. ':' .. part .. ':' .. job) end
return 1
