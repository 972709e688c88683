-- Stores reports of a stream's owner; a worker that lost the lease writes nothing.
--
-- ARGV  worker id, then for each stream: stream id, epoch of the lease, JSON, final state or an empty text
-- Returns  number of reports written
--
-- Reports of earlier runs are ignored when the record was created again under the same id.

-- With the first report of a run, the last one of the run before counts for good.
local function add_up(id, report)
  local last = redis.call('HGET', reports, id)
  local last_epoch = last and string.match(last, '"epoch":(%d+)')
  if not last_epoch or last_epoch == string.match(report, '"epoch":(%d+)') then return end
  local frames, faces = earlier_figures(id)
  frames = frames + (tonumber(string.match(last, '"num_frames":(%d+)')) or 0)
  faces = faces + (tonumber(string.match(last, '"num_faces":(%d+)')) or 0)
  redis.call('HSET', earlier, id, whole(frames) .. ' ' .. whole(faces))
end

local me, num_written = ARGV[1], 0
for i = 2, #ARGV, 4 do
  local id, epoch, final = ARGV[i], ARGV[i + 1], ARGV[i + 3]
  local record = redis.call('HGET', records, id)
  local created = record and tonumber(string.match(record, '"created_epoch":(%d+)')) or 0
  if record and redis.call('HGET', leases, id) == me .. ' ' .. epoch and tonumber(epoch) > created then
    add_up(id, ARGV[i + 2])
    redis.call('HSET', reports, id, ARGV[i + 2])
    if final ~= '' then
      redis.call('HSET', finished, id, final)
      drop_lease(id)
    end
    num_written = num_written + 1
  end
end
return num_written
