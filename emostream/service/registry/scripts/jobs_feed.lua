-- Moves finished files of open jobs to the results, and adds waiting files to the registry while there is room. Deletes jobs
-- that finished long ago. Every worker runs it regularly; one run serves all.
--
-- ARGV  limit of unfinished streams of the service, ms after which finished jobs are deleted (0: never), version of
--       this process
-- Returns  {number of files moved, number of waiting files that could run if there were room}
--
-- The keys of a job (its id at the end of the key's name) lie on the same node, as all keys of the registry do.

local room = tonumber(ARGV[1]) - (redis.call('HLEN', records) - redis.call('HLEN', finished))
local num_moved = 0

local function numbers_of(version)
  if type(version) == 'number' then version = string.format('%.14g', version) end
  if type(version) ~= 'string' then return {math.huge} end
  local numbers = {}
  for part in string.gmatch(version .. '.', '([^.]*)%.') do
    numbers[#numbers + 1] = tonumber(string.match(part, '^%d+')) or math.huge
  end
  return numbers
end

-- Whether this version can work with it: as `is_for_newer` in unknown_fields.py.
local function is_ours(value)
  if value.min_version == nil then return true end
  local wanted, ours = numbers_of(value.min_version), numbers_of(ARGV[3])
  for i = 1, math.max(#wanted, #ours) do
    local difference = (wanted[i] or 0) - (ours[i] or 0)
    if difference ~= 0 then return difference < 0 end
  end
  return true
end

local function number_in(value)
  return type(value) == 'number' and value == math.floor(value) and value or 0
end

local function add_result(job, id, url, state, report, frames, faces)
  redis.call('RPUSH', jobs .. ':results:' .. job, cjson.encode({stream_id = id, url = url, state = state, report = report,
    earlier_frames = frames, earlier_faces = faces}))
  redis.call('HINCRBY', jobs .. ':sums:' .. job, state == 'ended' and 'ended' or 'failed', 1)
  num_moved = num_moved + 1
end

local function settle(job, id, state)
  local report = redis.call('HGET', reports, id) or ''
  local frames, faces = earlier_figures(id)
  add_result(job, id, redis.call('HGET', jobs .. ':urls:' .. job, id) or '', state, report, frames, faces)
  if report ~= '' then
    local said = decoded(report)
    redis.call('HINCRBY', jobs .. ':sums:' .. job, 'frames', whole(number_in(said.num_frames) + frames))
    redis.call('HINCRBY', jobs .. ':sums:' .. job, 'faces', whole(number_in(said.num_faces) + faces))
  end
  redis.call('SREM', jobs .. ':active:' .. job, id)
  redis.call('HDEL', jobs .. ':urls:' .. job, id)
  remove_record(id)
end

-- Whether the file is in progress now.
local function start(job, text)
  local spec = decoded(text).spec
  if type(spec) ~= 'table' or type(spec.stream_id) ~= 'string' or type(spec.url) ~= 'string' then
    add_result(job, '', '', 'failed', '{"detail":"its record cannot be read"}', 0, 0)
    return false
  end
  local found = redis.call('HGET', records, spec.stream_id)
  -- The record of the same file is there before its job where workers wrote it back after a loss of data.
  if found and url_in(found) ~= spec.url then
    add_result(job, spec.stream_id, spec.url, 'failed', '{"detail":"another stream has this id"}', 0, 0)
    return false
  end
  if not found then add_record(spec.stream_id, text) end
  redis.call('SADD', jobs .. ':active:' .. job, spec.stream_id)
  redis.call('HSET', jobs .. ':urls:' .. job, spec.stream_id, spec.url)
  num_moved = num_moved + 1
  return true
end

-- The time at which it finished is stored beside its sums as well, for earlier versions.
local function finish(job)
  local key = jobs .. ':sums:' .. job
  redis.call('HSETNX', key, 'done_ms', whole(now))
  redis.call('ZADD', done_jobs, redis.call('HGET', key, 'done_ms'), job)
  redis.call('SREM', open_jobs, job)
end

-- Earlier versions do not know the index of open and done jobs.
if redis.call('HLEN', jobs) ~= redis.call('SCARD', open_jobs) + redis.call('ZCARD', done_jobs) then
  redis.call('DEL', open_jobs, done_jobs)
  for _, job in ipairs(redis.call('HKEYS', jobs)) do
    local done_ms = tonumber(redis.call('HGET', jobs .. ':sums:' .. job, 'done_ms') or '')
    if done_ms then redis.call('ZADD', done_jobs, done_ms, job) else redis.call('SADD', open_jobs, job) end
  end
end

local num_waiting = 0
for _, job in ipairs(redis.call('SMEMBERS', open_jobs)) do
  local wanted = decoded(redis.call('HGET', jobs, job) or '')
  if is_ours(wanted) then
    local active = redis.call('SMEMBERS', jobs .. ':active:' .. job)
    local num_active = #active
    for _, id in ipairs(active) do
      local state = redis.call('HGET', finished, id)
      if state or redis.call('HEXISTS', records, id) == 0 then
        settle(job, id, state or '')
        num_active = num_active - 1
      end
    end
    local most = tonumber(wanted.max_parallel) or 0 -- the files of a job of another kind wait for newer workers
    while room > 0 and num_active < most do
      local text = redis.call('LPOP', jobs .. ':todo:' .. job)
      if not text then break end
      if start(job, text) then num_active, room = num_active + 1, room - 1 end
    end
    local num_todo = redis.call('LLEN', jobs .. ':todo:' .. job)
    num_waiting = num_waiting + math.max(0, math.min(num_todo, most - num_active))
    if num_active == 0 and num_todo == 0 then finish(job) end
  end
end
if tonumber(ARGV[2]) > 0 then
  for _, job in ipairs(redis.call('ZRANGEBYSCORE', done_jobs, '-inf', '(' .. whole(now - tonumber(ARGV[2])))) do remove_job(job) end
end
return {num_moved, num_waiting}
