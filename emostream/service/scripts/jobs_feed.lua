-- Moves the files of all jobs on: finished ones to their results, waiting ones into the registry while there is room.
-- Every worker runs it now and then; what one has done is done for all.
--
-- KEYS  jobs, records, revision, epoch, finished, reports
-- ARGV  most unfinished streams of the service that files may bring it to
-- Returns  how many files were moved
--
-- The keys of a job (its id at the end of the first key's name) lie on the same node, as all keys of the registry do.

local jobs, records, revision, last_epoch, finished, reports = unpack(KEYS)
local room = tonumber(ARGV[1]) - (redis.call('HLEN', records) - redis.call('HLEN', finished))
local num_moved = 0

local function settle(job, id, state)
  local record = redis.call('HGET', records, id)
  local url = redis.call('HGET', jobs .. ':urls:' .. job, id) or ''
  local report = redis.call('HGET', reports, id) or ''
  redis.call('RPUSH', jobs .. ':results:' .. job,
    cjson.encode({stream_id = id, url = url, state = state, report = report}))
  redis.call('HINCRBY', jobs .. ':sums:' .. job, state == 'ended' and 'ended' or 'failed', 1)
  if report ~= '' then
    local said = cjson.decode(report)
    redis.call('HINCRBY', jobs .. ':sums:' .. job, 'frames', said.num_frames)
    redis.call('HINCRBY', jobs .. ':sums:' .. job, 'faces', said.num_faces)
  end
  redis.call('SREM', jobs .. ':active:' .. job, id)
  redis.call('HDEL', jobs .. ':urls:' .. job, id)
  redis.call('HDEL', records, id)
  redis.call('HDEL', finished, id)
  redis.call('HDEL', reports, id)
  if record then redis.call('INCR', revision) end
  num_moved = num_moved + 1
end

local function start(job, text)
  local spec = cjson.decode(text).spec
  if redis.call('HEXISTS', records, spec.stream_id) == 1 then return false end
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local token = string.format('%.0f', math.max(tonumber(redis.call('GET', last_epoch) or '0') + 1, now))
  redis.call('SET', last_epoch, token)
  redis.call('HSET', records, spec.stream_id, (string.gsub(text, '"created_epoch":0,', '"created_epoch":' .. token .. ',', 1)))
  redis.call('SADD', jobs .. ':active:' .. job, spec.stream_id)
  redis.call('HSET', jobs .. ':urls:' .. job, spec.stream_id, spec.url)
  redis.call('INCR', revision)
  num_moved = num_moved + 1
  return true
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
  local most = cjson.decode(all[i + 1]).max_parallel
  while room > 0 and num_active < most do
    local text = redis.call('LINDEX', jobs .. ':todo:' .. job, 0)
    if not text or not start(job, text) then break end
    redis.call('LPOP', jobs .. ':todo:' .. job)
    num_active, room = num_active + 1, room - 1
  end
end
return num_moved
