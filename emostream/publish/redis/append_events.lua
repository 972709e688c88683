-- Appends events of one stream to its event stream, each once and in order (decision D8).
--
-- KEYS[1]  the event stream
-- KEYS[2]  the epoch of the run that began last, where one began lately (raise_fence.lua)
-- ARGV[1]  length to trim to, approximately
-- ARGV[2]  ms after which events go, approximately, behind the newest one or the server's clock, whichever is earlier; 0 for
--          never
-- ARGV[3]  name of the field that holds an event
-- ARGV[4]  ms after which the epoch in KEYS[2] is forgotten (fence.py)
-- ARGV[5]  ms without events after which the whole stream goes; 0 for never
-- ARGV[6…] for each event: capture time in ms, epoch, frame index, the event
-- Returns  {appended, there already, newest epoch if an event came from an older one, else -1,
--          an epoch that was ignored because it is far in the future, else -1}
--
-- (epoch, frame_index) grows strictly within a stream, so comparing with the last entry tells a repeated event from a new
-- one: sending a batch again after an unclear time-out adds only what is missing. An event of an older epoch comes from an
-- owner that was deposed, whether its successor has published yet or has only begun. The entry id is the capture time and
-- the frame index; where the clock went back, the time of the last entry takes its place, because ids must grow.
--
-- Epochs are times in ms. One that is a day ahead of the server's clock was forged, or comes from a machine with a wrong
-- clock: it must not refuse the events of all others for years.
--
-- What is due goes first: so a full server takes events of a stream that has reached its length or age. Others it refuses
-- before anything is written: the first write decides, so nothing is trimmed in vain.

local MAX_EXACT = 9007199254740991 -- numbers are doubles here

-- A number as publishers write it; -1 for anything else: who may write to the stream may write nonsense.
local function exact(text)
  local number = #text <= 16 and string.match(text, '^%d+$') and tonumber(text) or -1
  return number <= MAX_EXACT and number or -1
end

local key, max_length, max_age_ms = KEYS[1], ARGV[1], tonumber(ARGV[2])
local last_ms, last_seq, last_epoch, last_index = 0, 0, -1, -1
local length, first_ms = 0, math.huge

if redis.call('EXISTS', key) == 1 then
  local info = redis.call('XINFO', 'STREAM', key)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then
      local ms, seq = string.match(info[i + 1], '^(%d+)-(%d+)$')
      last_ms, last_seq = tonumber(ms), tonumber(seq)
    elseif info[i] == 'length' then
      length = info[i + 1]
    elseif info[i] == 'first-entry' and info[i + 1] then
      first_ms = tonumber(string.match(info[i + 1][1], '^%d+'))
    elseif info[i] == 'last-entry' and info[i + 1] then
      local fields = info[i + 1][2]
      for j = 1, #fields, 2 do
        if fields[j] == 'epoch' then last_epoch = exact(fields[j + 1]) end
        if fields[j] == 'frame_index' then last_index = exact(fields[j + 1]) end
      end
    end
  end
end

-- By the server's clock where capture times are ahead of it: one event of a machine whose clock is ahead must not push out
-- all others.
local now_ms = math.huge
local time = redis.pcall('TIME') -- a publisher may lack the right to it (docs/events.md)
if not time.err then now_ms = time[1] * 1000 + math.floor(time[2] / 1000) end

local function trim()
  local due_ms = math.min(last_ms, now_ms) - max_age_ms
  if length > tonumber(max_length) then redis.call('XTRIM', key, 'MAXLEN', '~', max_length) end
  if max_age_ms > 0 and first_ms < due_ms then redis.call('XTRIM', key, 'MINID', '~', string.format('%.0f', due_ms)) end
end

local DAY_MS = 86400000
local ignored_epoch = -1

-- -1 for an epoch that no event of this call may be measured by.
local function believed(epoch)
  if epoch <= now_ms + DAY_MS or tonumber(ARGV[7] or '') > now_ms + DAY_MS then return epoch end
  ignored_epoch = epoch
  return -1
end

local newest_epoch = math.max(believed(last_epoch), believed(exact(redis.call('GET', KEYS[2]) or '')))
local appended, repeated = 0, 0
for i = 6, #ARGV, 4 do
  local ms, epoch, index = tonumber(ARGV[i]), tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  if epoch < newest_epoch then
    return {appended, repeated, newest_epoch, ignored_epoch}
  elseif epoch == last_epoch and index <= last_index then
    repeated = repeated + 1
  else
    if ms < last_ms then ms = last_ms end
    if ms == last_ms and index <= last_seq then ms = ms + 1 end
    if ms > MAX_EXACT then return redis.error_reply('ERR the last id of the event stream leaves no room for another') end
    if appended == 0 then trim() end
    redis.call('XADD', key, 'MAXLEN', '~', max_length, string.format('%.0f-%.0f', ms, index),
      'epoch', ARGV[i + 1], 'frame_index', ARGV[i + 2], ARGV[3], ARGV[i + 3])
    appended = appended + 1
    last_ms, last_seq, last_epoch, last_index = ms, index, epoch, index
    newest_epoch = math.max(newest_epoch, epoch)
  end
end
if appended > 0 then
  trim()
  -- The last events go as well when no more come. A time that an earlier setting left must not end a stream that goes on;
  -- a publisher without the right to lift it (docs/events.md) has none in its settings.
  if tonumber(ARGV[5]) > 0 then redis.call('PEXPIRE', key, ARGV[5]) else redis.pcall('PERSIST', key) end
end
if appended == 0 and repeated > 0 then
  -- WAIT, where it follows, waits for what its own connection wrote. So something must be written on this one as well:
  -- a replica that has it has what was appended over an earlier connection.
  redis.call('SET', KEYS[2], string.format('%.0f', newest_epoch), 'PX', ARGV[4])
end
return {appended, repeated, -1, ignored_epoch}
