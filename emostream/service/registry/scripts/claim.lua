-- Claims free streams, each with a fencing token greater than all before it.
--
-- ARGV  worker id, lease time in ms, max_streams, then stream ids
-- Returns  stream id, epoch, for each claimed stream
--
-- A stream that the worker already owns is claimed again: it gets a new epoch.

local me, ttl_ms, max_streams = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local num_held = redis.call('SCARD', streams_of(me))

local claimed = {}
for i = 4, #ARGV do
  local id = ARGV[i]
  local lease = redis.call('HGET', leases, id)
  local is_held = lease and is_valid(id)
  local is_mine = is_held and owner_in(lease) == me
  if redis.call('HEXISTS', records, id) == 1 and redis.call('HEXISTS', finished, id) == 0
      and (is_mine or (not is_held and num_held < max_streams)) then
    end_lease(id)
    local token = next_epoch()
    redis.call('HSET', leases, id, me .. ' ' .. token)
    hold(id, me .. ' ', now + ttl_ms)
    note('s', id)
    num_held = redis.call('SCARD', streams_of(me))
    claimed[#claimed + 1] = id
    claimed[#claimed + 1] = token
  end
end
return claimed
