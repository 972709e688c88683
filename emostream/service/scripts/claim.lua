-- Claims streams that nobody holds, each with a fencing token greater than all before it.
--
-- KEYS  records, finished, leases, epoch
-- ARGV  worker id, lease time in ms, max_streams, then stream ids
-- Returns  stream id, epoch, for each that was claimed
--
-- A stream that the worker holds itself is claimed again: it gets a new epoch. The token is at least the server's time in
-- ms, so it grows also after the server lost its data, and beyond the epochs of `emostream analyze`.

local records, finished, leases, last_epoch = unpack(KEYS)
local me, ttl_ms, max_streams = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local num_held = 0
local entries = redis.call('HGETALL', leases)
for i = 1, #entries, 2 do
  local owner, expires = string.match(entries[i + 1], '^(%S+) %d+ (%d+)$')
  if owner == me and tonumber(expires) > now then num_held = num_held + 1 end
end

local claimed = {}
for i = 4, #ARGV do
  local id = ARGV[i]
  local owner, expires = nil, '0'
  local held = redis.call('HGET', leases, id)
  if held then owner, expires = string.match(held, '^(%S+) %d+ (%d+)$') end
  local is_held = tonumber(expires) > now
  local is_mine = is_held and owner == me
  if redis.call('HEXISTS', records, id) == 1 and redis.call('HEXISTS', finished, id) == 0
      and (is_mine or (not is_held and num_held < max_streams)) then
    local epoch = math.max(tonumber(redis.call('GET', last_epoch) or '0') + 1, now)
    local token = string.format('%.0f', epoch)
    redis.call('SET', last_epoch, token)
    redis.call('HSET', leases, id, me .. ' ' .. token .. ' ' .. string.format('%.0f', now + ttl_ms))
    if not is_mine then num_held = num_held + 1 end
    claimed[#claimed + 1] = id
    claimed[#claimed + 1] = token
  end
end
return claimed
