-- Releases a worker's leases. Without streams, removes the worker itself.
--
-- ARGV  worker id, then for each lease: stream id, epoch

local me = ARGV[1]
if #ARGV == 1 and redis.call('HEXISTS', workers, me) == 1 then forget_worker(me) end
for i = 2, #ARGV, 2 do
  if redis.call('HGET', leases, ARGV[i]) == me .. ' ' .. ARGV[i + 1] then drop_lease(ARGV[i]) end
end
return 1
