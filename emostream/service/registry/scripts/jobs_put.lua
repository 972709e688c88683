-- Creates a job with the streams of its files, which wait until workers have capacity.
--
-- ARGV  job id, JSON of the job, then JSON of a record for each file (their created_epoch is 0 and filled in later)
-- Returns  {'ok', JSON} or {'exists', JSON found} or {'taken', id of a stream that is no file of it}

local found = redis.call('HGET', jobs, ARGV[1])
if found then return {'exists', found} end
for i = 3, #ARGV do
  local id = ARGV[1] .. '.' .. (i - 2)
  local record = redis.call('HGET', records, id)
  -- One of the same file was written back by workers after a loss of data.
  if record and url_in(record) ~= url_in(ARGV[i]) then return {'taken', id} end
end
redis.call('SADD', open_jobs, ARGV[1])
redis.call('HSET', jobs, ARGV[1], ARGV[2])
for i = 3, #ARGV do redis.call('RPUSH', jobs .. ':todo:' .. ARGV[1], ARGV[i]) end
return {'ok', ARGV[2]}
