-- The progress of a job.
--
-- ARGV  job id, first and last result
-- Returns  {JSON of the job or '', number of waiting files, sums (name, value, …), reports of files in progress
--          ('' without a report), results, their frames and faces in earlier runs}

local job = ARGV[1]
local found = redis.call('HGET', jobs, job)
if not found then return {'', 0, {}, {}, {}, 0, 0} end
local seen, frames, faces = {}, 0, 0
for _, id in ipairs(redis.call('SMEMBERS', jobs .. ':active:' .. job)) do
  seen[#seen + 1] = redis.call('HGET', reports, id) or ''
  local frames_before, faces_before = earlier_figures(id)
  frames, faces = frames + frames_before, faces + faces_before
end
return {found, redis.call('LLEN', jobs .. ':todo:' .. job), redis.call('HGETALL', jobs .. ':sums:' .. job), seen,
  redis.call('LRANGE', jobs .. ':results:' .. job, ARGV[2], ARGV[3]), frames, faces}
