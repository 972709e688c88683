-- A worker says that it lives, renews its leases and learns what changed, in one step on the server's clock.
--
-- KEYS  records, finished, leases, workers, revision, generation, viewers
-- ARGV  worker id, lease time in ms (0: only look), max_streams, num_streams, is_draining (0/1), known
--       "generation revision", generation to set when there is none, then for each lease held: stream id, epoch
-- Returns  {now in ms, generation, revision, records ({} when the revision is known), finished, leases, workers, lost ids,
--          channels of previews that somebody looks at}
--
-- A lease that expired but that nobody else claimed is renewed: when the server was away, streams go on.

local records, finished, leases, workers, revision, generation, viewers = unpack(KEYS)
local me, ttl_ms = ARGV[1], tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local expires = string.format('%.0f', now + ttl_ms)

redis.call('SETNX', generation, ARGV[7])
local lost = {}
if ttl_ms > 0 then
  for i = 8, #ARGV, 2 do
    local id, epoch = ARGV[i], ARGV[i + 1]
    local held = redis.call('HGET', leases, id)
    local mine = me .. ' ' .. epoch .. ' '
    if held and string.sub(held, 1, #mine) == mine then
      redis.call('HSET', leases, id, mine .. expires)
    else
      lost[#lost + 1] = id
    end
  end
  redis.call('HSET', workers, me, expires .. ' ' .. ARGV[3] .. ' ' .. ARGV[4] .. ' ' .. ARGV[5])

  local entries = redis.call('HGETALL', workers)
  for i = 1, #entries, 2 do
    if tonumber(string.match(entries[i + 1], '^(%d+)')) <= now then redis.call('HDEL', workers, entries[i]) end
  end
  entries = redis.call('HGETALL', leases)
  for i = 1, #entries, 2 do
    if tonumber(string.match(entries[i + 1], '(%d+)$')) <= now and redis.call('HEXISTS', records, entries[i]) == 0 then
      redis.call('HDEL', leases, entries[i])
    end
  end
end

local looked_at = {}
local marks = redis.call('HGETALL', viewers)
for i = 1, #marks, 2 do
  if tonumber(marks[i + 1]) > now then
    looked_at[#looked_at + 1] = marks[i]
  elseif ttl_ms > 0 then
    redis.call('HDEL', viewers, marks[i])
  end
end

local now_revision = redis.call('GET', revision) or '0'
local changed = {}
if redis.call('GET', generation) .. ' ' .. now_revision ~= ARGV[6] then changed = redis.call('HGETALL', records) end
return {string.format('%.0f', now), redis.call('GET', generation), now_revision, changed,
  redis.call('HGETALL', finished), redis.call('HGETALL', leases), redis.call('HGETALL', workers), lost, looked_at}
