-- Moves finished files of all jobs to the results, and adds waiting files to the registry while there is room. Deletes jobs that
-- finished long ago. Every worker runs it regularly; one run serves all.
--
-- ARGV  limit of unfinished streams of the service, ms after which finished jobs are deleted (0: never)
-- Returns  number of files moved
--
-- The keys of a job (its id at the end of the key's name) lie on the same node, as all keys of the registry do.

local room = tonumber(ARGV[1]) - (redis.call('HLEN', records) - redis.call('HLEN', finished))
local num_moved = 0

-- Entries of newer versions and damaged ones are skipped.
local function decoded(text)
  local is_json, value = pcall(cjson.decode, text)
  return is_json and type(value) == 'table' and value or {}
end

local function number_in(value)
  return type(value) == 'number' and value == math.floor(value) and whole(value) or 0
end

local function settle(job, id, state)
  local url = redis.call('HGET', jobs .. ':urls:' .. job, id) or ''
  local report = redis.call('HGET', reports, id) or ''
  redis.call('RPUSH', jobs .. ':results:' .. job,
    cjson.encode({stream_id = id, url = url, state = state, report = report}))
  redis.call('HINCRBY', jobs .. ':sums:' .. job, state == 'ended' and 'ended' or 'failed', 1)
  if report ~= '' then
    local said = decoded(report)
    redis.call('HINCRBY', jobs .. ':sums:' .. job, 'frames', number_in(said.num_frames))
    redis.call('HINCRBY', jobs .. ':sums:' .. job, 'faces', number_in(said.num_faces))
  end
  redis.call('SREM', jobs .. ':active:' .. job, id)
  redis.call('HDEL', jobs .. ':urls:' .. job, id)
  remove_record(id)
  num_moved = num_moved + 1
end

local function start(job, text)
  local spec = decoded(text).spec
  if type(spec) ~= 'table' or type(spec.stream_id) ~= 'string' or type(spec.url) ~= 'string' then
    redis.call('RPUSH', jobs .. ':results:' .. job, cjson.encode({stream_id = '', url = '', state = 'failed',
      report = '{"detail":"its record cannot be read"}'}))
    redis.call('HINCRBY', jobs .. ':sums:' .. job, 'failed', 1)
    return true
  end
  if redis.call('HEXISTS', records, spec.stream_id) == 1 then return false end
  add_record(spec.stream_id, text)
  redis.call('SADD', jobs .. ':active:' .. job, spec.stream_id)
  redis.call('HSET', jobs .. ':urls:' .. job, spec.stream_id, spec.url)
  num_moved = num_moved + 1
  return true
end

-- The time at which it finished is stored beside its sums, as `done_ms`.
local function forget_when_due(job)
  local done_ms = tonumber(redis.call('HGET', jobs .. ':sums:' .. job, 'done_ms') or '')
  if not done_ms then
    redis.call('HSET', jobs .. ':sums:' .. job, 'done_ms', whole(now))
  elseif tonumber(ARGV[2]) > 0 and now - done_ms > tonumber(ARGV[2]) then
    remove_job(job)
  end
end

local all = redis.call('HGETALL', jobs)
for i = 1, #all, 2 do
  local job = all[i]
  local active = redis.call('SMEMBERS', jobs .. ':active:' .. job)
  local num_active = #active
  for _, id in ipairs(active) do
    local state = redis.call('HGET', finished, id)
    if state or redis.call('HEXISTS', records, id) == 0 then
      settle(job, id, state or '')
      num_active = num_active - 1
    end
  end
  local most = tonumber(decoded(all[i + 1]).max_parallel) or 0 -- the files of a job of another kind wait for newer workers
  while room > 0 and num_active < most do
    local text = redis.call('LINDEX', jobs .. ':todo:' .. job, 0)
    if not text or not start(job, text) then break end
    redis.call('LPOP', jobs .. ':todo:' .. job)
    num_active, room = num_active + 1, room - 1
  end
  if num_active == 0 and redis.call('LLEN', jobs .. ':todo:' .. job) == 0 then forget_when_due(job) end
end
return num_moved
