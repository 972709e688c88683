-- Gives leases back; those of others are left alone. With no stream at all the worker itself signs off.
--
-- KEYS  leases, workers
-- ARGV  worker id, then for each lease: stream id, epoch

local leases, workers = unpack(KEYS)
local me = ARGV[1]
if #ARGV == 1 then redis.call('HDEL', workers, me) end
for i = 2, #ARGV, 2 do
  local mine = me .. ' ' .. ARGV[i + 1] .. ' '
  local held = redis.call('HGET', leases, ARGV[i])
  if held and string.sub(held, 1, #mine) == mine then redis.call('HDEL', leases, ARGV[i]) end
end
return 1
