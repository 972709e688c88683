-- How far a job is, at one instant.
--
-- KEYS  jobs, reports
-- ARGV  job id, first and last result wanted
-- Returns  {JSON of the job or '', number of files that wait, sums (name, value, …), reports of files in work
--          ('' where there is none yet), results}

local jobs, job = KEYS[1], ARGV[1]
local text = redis.call('HGET', jobs, job)
if not text then return {'', 0, {}, {}, {}} end
local reports = {}
for _, id in ipairs(redis.call('SMEMBERS', jobs .. ':active:' .. job)) do
  reports[#reports + 1] = redis.call('HGET', KEYS[2], id) or ''
end
return {text, redis.call('LLEN', jobs .. ':todo:' .. job), redis.call('HGETALL', jobs .. ':sums:' .. job), reports,
  redis.call('LRANGE', jobs .. ':results:' .. job, ARGV[2], ARGV[3])}
