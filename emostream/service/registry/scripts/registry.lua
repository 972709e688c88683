-- Included before every script: the registry's keys, the server's clock, and shared functions.
--
-- Readers of the registry send the version that they know and receive what changed since (heartbeat.lua). So each change of a
-- record (kind `r`), of a stream's state, which is its lease and its final state (`s`), or of a worker (`w`) is stored under
-- the next version. Of each entry only the last change is kept.
--
-- Leases are valid while `lease_ends` says so; `leases` also keeps expired ones that no other worker claimed. The set
-- `leases:WORKER` contains a worker's streams. These keys are on the same node, as all keys of the registry.

local records, finished, reports, leases, lease_ends, workers, worker_ends, revision, changes, gone, floor, last_epoch,
  generation, viewers, jobs, openings, verdicts, hosts, open_jobs, done_jobs, earlier, last_beat, deleted,
  service, owners = unpack(KEYS)
local MOST_GONE = 1000 -- removed entries that are still reported; a reader with an older version receives everything

local MOST_DELETED = 10000 -- streams that are remembered as deleted

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function whole(number) return string.format('%.0f', number) end

-- Entries of newer versions and damaged ones count as empty.
local function decoded(text)
  local is_json, value = pcall(cjson.decode, text)
  return is_json and type(value) == 'table' and value or {}
end

local function url_in(record)
  local spec = decoded(record).spec
  return type(spec) == 'table' and spec.url or nil
end

-- Frames and faces of a stream in its runs before the one that reported last.
local function earlier_figures(id)
  local frames, faces = string.match(redis.call('HGET', earlier, id) or '', '^(%d+) (%d+)$')
  return tonumber(frames or 0), tonumber(faces or 0)
end

local function note(kind, id)
  redis.call('ZADD', changes, redis.call('INCR', revision), kind .. id)
  redis.call('ZREM', gone, kind .. id)
end

local function note_gone(kind, id)
  local version = redis.call('INCR', revision)
  redis.call('ZADD', changes, version, kind .. id)
  redis.call('ZADD', gone, version, kind .. id)
  while redis.call('ZCARD', gone) > MOST_GONE do
    local oldest = redis.call('ZPOPMIN', gone)
    redis.call('ZREM', changes, oldest[1])
    redis.call('SET', floor, oldest[2])
  end
end

local function note_state(id)
  if redis.call('HEXISTS', records, id) == 1 then note('s', id) else redis.call('ZREM', changes, 's' .. id) end
end

local function streams_of(worker) return leases .. ':' .. worker end

local function owner_in(lease) return string.match(lease, '^(%S+) ') end

local function is_valid(id)
  local ends = redis.call('ZSCORE', lease_ends, id)
  return ends and tonumber(ends) > now
end

local function hold(id, lease, ends)
  local is_news = redis.call('ZADD', lease_ends, whole(ends), id) == 1
  redis.call('SADD', streams_of(owner_in(lease)), id)
  return is_news
end

local function end_lease(id)
  local lease = redis.call('HGET', leases, id)
  if lease then redis.call('SREM', streams_of(owner_in(lease)), id) end
  redis.call('ZREM', lease_ends, id)
  return lease
end

local function drop_lease(id)
  end_lease(id)
  redis.call('HDEL', leases, id)
  note_state(id)
end

local function next_epoch()
  -- At least the server's time in ms, so it grows also after the server lost its data, and beyond the epochs of
  -- `emostream analyze`.
  local token = whole(math.max(tonumber(redis.call('GET', last_epoch) or '0') + 1, now))
  redis.call('SET', last_epoch, token)
  return token
end

-- The results of a stream so far.
local function forget_course(id)
  for _, key in ipairs({finished, reports, openings, verdicts, earlier}) do redis.call('HDEL', key, id) end
end

local function forget_worker(id)
  redis.call('HDEL', workers, id)
  redis.call('HDEL', hosts, id)
  redis.call('ZREM', worker_ends, id)
  note_gone('w', id)
end

local function add_record(id, text)
  text = string.gsub(text, '"created_epoch":0,', '"created_epoch":' .. next_epoch() .. ',', 1)
  forget_course(id)
  redis.call('HSET', records, id, text)
  note('r', id)
  note('s', id)
  return text
end

local function created_in(record) return tonumber(string.match(record, '"created_epoch": ?(%d+)') or '') or 0 end

-- Remember that a stream is deleted up to an epoch: a worker that was away may write it back otherwise (restore.lua).
local function bury(id, epoch)
  if epoch <= (tonumber(redis.call('ZSCORE', deleted, id) or '') or -1) then return end
  redis.call('ZADD', deleted, whole(epoch), id)
  redis.call('ZREMRANGEBYRANK', deleted, 0, -MOST_DELETED - 1)
end

local function remove_record(id)
  local record = redis.call('HGET', records, id)
  if record then bury(id, created_in(record)) end
  local removed = redis.call('HDEL', records, id)
  redis.call('HDEL', owners, id)
  forget_course(id)
  if not redis.call('ZSCORE', lease_ends, id) then redis.call('HDEL', leases, id) end -- it ran out; a valid one is its owner's
  if removed == 1 then
    note_gone('r', id)
    redis.call('ZREM', changes, 's' .. id)
  end
  return removed
end

local function remove_job(job)
  if redis.call('HDEL', jobs, job) == 0 then return 0 end
  for _, id in ipairs(redis.call('SMEMBERS', jobs .. ':active:' .. job)) do remove_record(id) end
  redis.call('SREM', open_jobs, job)
  redis.call('ZREM', done_jobs, job)
  for _, part in ipairs({'todo', 'active', 'urls', 'results', 'sums'}) do redis.call('DEL', jobs .. ':' .. part .. ':' .. job) end
  return 1
end
