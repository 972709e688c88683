-- Creates a job with the streams of its files, which wait until workers have capacity.
--
-- ARGV  job id, JSON of the job, then JSON of a record for each file (their created_epoch is 0 and filled in later)
-- Returns  {'ok', JSON} or {'exists', JSON found}

local found = redis.call('HGET', jobs, ARGV[1])
if found then return {'exists', found} end
redis.call('HSET', jobs, ARGV[1], ARGV[2])
for i = 3, #ARGV do redis.call('RPUSH', jobs .. ':todo:' .. ARGV[1], ARGV[i]) end
return {'ok', ARGV[2]}
