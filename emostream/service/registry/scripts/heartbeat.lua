-- Renews a worker's registration and leases, and returns what changed, in one step on the server's clock.
--
-- ARGV  worker id, lease time in ms (0: nothing is written), max_streams, num_streams, is_draining (0/1), known generation
--       and version ('' and '': none), generation to set when there is none, least and most that the server's clock should
--       show by the worker's own ('' and '': unknown), then for each lease held: stream id, epoch
-- Returns  {now in ms, generation, version, complete state (1) or changes since the known version (0),
--          records (id, JSON or ''), states (id, final state or '', `worker epoch` of a valid lease or ''),
--          workers (id, `max_streams num_streams is_draining` or ''), lost ids, channels of watched previews};
--          '' stands for removed entries
--
-- An expired lease that no other worker claimed is renewed, so that streams continue after the server was unavailable.
--
-- When the server's clock jumps, leases neither run out nor last longer: the first worker that notices moves their ends. A
-- jump is a time that its own clock does not confirm, while no other worker called by the server's clock shortly before.

local me, ttl_ms = ARGV[1], tonumber(ARGV[2])
local known_generation, known_version = ARGV[6], tonumber(ARGV[7])
local FAR_MS = 600000 -- no lease lasts so long

local function move_ends(by_ms)
  for _, key in ipairs({lease_ends, worker_ends}) do
    local ends = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
    for i = 1, #ends, 2 do redis.call('ZADD', key, whole(tonumber(ends[i + 1]) + by_ms), ends[i]) end
  end
  local marks = redis.call('HGETALL', viewers)
  for i = 1, #marks, 2 do redis.call('HSET', viewers, marks[i], whole((tonumber(marks[i + 1]) or now) + by_ms)) end
end

-- Whether it is known how much time has passed. A new worker cannot tell a jump from a time without workers.
local function check_clock()
  local slack_ms = math.max(ttl_ms / 2, 1000)
  local last = tonumber(redis.call('GET', last_beat) or '')
  if last and math.abs(now - last) > slack_ms then
    local least, most = tonumber(ARGV[9]), tonumber(ARGV[10])
    if not least then return false end
    if now < least - slack_ms then
      move_ends(now - least)
    elseif now > most + slack_ms then
      move_ends(now - most)
    end
  end
  redis.call('SET', last_beat, whole(now))
  return true
end

local function renew(id, epoch)
  local lease = redis.call('HGET', leases, id)
  if lease ~= me .. ' ' .. epoch then return false end
  local was_valid = is_valid(id)
  hold(id, lease, now + ttl_ms)
  if not was_valid then note_state(id) end
  return true
end

local function lives(worker) return (tonumber(redis.call('ZSCORE', worker_ends, worker) or '') or 0) > now end

local function say_alive()
  local entry = ARGV[3] .. ' ' .. ARGV[4] .. ' ' .. ARGV[5]
  local was_alive = lives(me)
  redis.call('ZADD', worker_ends, whole(now + ttl_ms), me)
  if not was_alive or redis.call('HGET', workers, me) ~= entry then
    redis.call('HSET', workers, me, entry)
    note('w', me)
  end
end

local function ran_out(key) return redis.call('ZRANGEBYSCORE', key, '-inf', whole(now)) end

local function end_what_ran_out()
  for _, key in ipairs({lease_ends, worker_ends}) do -- a clock that was ahead left these
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', key, whole(now + FAR_MS), '+inf')) do
      redis.call('ZADD', key, whole(now + ttl_ms), id)
    end
  end
  for _, id in ipairs(ran_out(lease_ends)) do
    end_lease(id)
    if redis.call('HEXISTS', records, id) == 0 then redis.call('HDEL', leases, id) end
    note_state(id)
  end
  for _, id in ipairs(ran_out(worker_ends)) do forget_worker(id) end
end

local is_sure = true
local told = {r = {}, s = {}, w = {}}

local function tell(kind, id)
  local list = told[kind]
  list[#list + 1] = id
  if kind == 'r' then
    list[#list + 1] = redis.call('HGET', records, id) or ''
  elseif kind == 's' then
    list[#list + 1] = redis.call('HGET', finished, id) or ''
    local is_held = is_valid(id) or not is_sure and redis.call('ZSCORE', lease_ends, id)
    list[#list + 1] = is_held and redis.call('HGET', leases, id) or ''
  else
    list[#list + 1] = (lives(id) or not is_sure) and redis.call('HGET', workers, id) or ''
  end
end

if redis.call('EXISTS', generation) == 0 then redis.call('SET', generation, ARGV[8]) end
local lost = {}
if ttl_ms > 0 then
  is_sure = check_clock()
  for i = 11, #ARGV, 2 do
    if not renew(ARGV[i], ARGV[i + 1]) then lost[#lost + 1] = ARGV[i] end
  end
  say_alive()
  if is_sure then end_what_ran_out() end
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

local version = tonumber(redis.call('GET', revision) or '0')
local is_known = redis.call('GET', generation) == known_generation and known_version and known_version <= version
  and known_version >= tonumber(redis.call('GET', floor) or '0')
if is_known then
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', changes, '(' .. ARGV[7], '+inf')) do
    tell(string.sub(member, 1, 1), string.sub(member, 2))
  end
  if ttl_ms == 0 then -- what ran out and no worker has ended yet
    for _, id in ipairs(ran_out(lease_ends)) do tell('s', id) end
    for _, id in ipairs(ran_out(worker_ends)) do tell('w', id) end
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
