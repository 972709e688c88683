-- Renews a worker's registration and leases, and returns what changed, in one step on the server's clock.
--
-- ARGV  worker id, lease time in ms (0: read only), max_streams, num_streams, is_draining (0/1), known generation and
--       version ('' and '': none), generation to set when there is none, then for each lease held: stream id, epoch
-- Returns  {now in ms, generation, version, complete state (1) or changes since the known version (0),
--          records (id, JSON or ''), states (id, final state or '', `worker epoch` of a valid lease or ''),
--          workers (id, `max_streams num_streams is_draining` or ''), lost ids, channels of watched previews};
--          '' stands for removed entries
--
-- An expired lease that no other worker claimed is renewed, so that streams continue after the server was unavailable.

local me, ttl_ms = ARGV[1], tonumber(ARGV[2])
local known_generation, known_version = ARGV[6], tonumber(ARGV[7])

local function renew(id, epoch)
  local lease = redis.call('HGET', leases, id)
  if lease ~= me .. ' ' .. epoch then return false end
  if hold(id, lease, now + ttl_ms) then note_state(id) end
  return true
end

local function say_alive()
  local entry = ARGV[3] .. ' ' .. ARGV[4] .. ' ' .. ARGV[5]
  redis.call('ZADD', worker_ends, whole(now + ttl_ms), me)
  if redis.call('HGET', workers, me) ~= entry then
    redis.call('HSET', workers, me, entry)
    note('w', me)
  end
end

local function end_what_ran_out()
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', lease_ends, '-inf', whole(now))) do
    end_lease(id)
    if redis.call('HEXISTS', records, id) == 0 then redis.call('HDEL', leases, id) end
    note_state(id)
  end
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', worker_ends, '-inf', whole(now))) do
    forget_worker(id)
  end
end

local told = {r = {}, s = {}, w = {}}

local function tell(kind, id)
  local list = told[kind]
  list[#list + 1] = id
  if kind == 'r' then
    list[#list + 1] = redis.call('HGET', records, id) or ''
  elseif kind == 's' then
    list[#list + 1] = redis.call('HGET', finished, id) or ''
    list[#list + 1] = is_valid(id) and redis.call('HGET', leases, id) or ''
  else
    list[#list + 1] = redis.call('HGET', workers, id) or ''
  end
end

redis.call('SETNX', generation, ARGV[8])
local lost = {}
if ttl_ms > 0 then
  for i = 9, #ARGV, 2 do
    if not renew(ARGV[i], ARGV[i + 1]) then lost[#lost + 1] = ARGV[i] end
  end
  say_alive()
end
end_what_ran_out()

local looked_at = {}
local marks = redis.call('HGETALL', viewers)
for i = 1, #marks, 2 do
  if tonumber(marks[i + 1]) > now then
    looked_at[#looked_at + 1] = marks[i]
  elseif ttl_ms > 0 then
    redis.call('HDEL', viewers, marks[i])
  end
end

local version = tonumber(redis.call('GET', revision) or '0')
local is_known = redis.call('GET', generation) == known_generation and known_version and known_version <= version
  and known_version >= tonumber(redis.call('GET', floor) or '0')
if is_known then
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', changes, '(' .. ARGV[7], '+inf')) do
    tell(string.sub(member, 1, 1), string.sub(member, 2))
  end
else
  for _, id in ipairs(redis.call('HKEYS', records)) do
    tell('r', id)
    tell('s', id)
  end
  for _, id in ipairs(redis.call('ZRANGE', worker_ends, 0, -1)) do tell('w', id) end
end
return {whole(now), redis.call('GET', generation), whole(version), is_known and 0 or 1, told.r, told.s, told.w, lost,
  looked_at}
