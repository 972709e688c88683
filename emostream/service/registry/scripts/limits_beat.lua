-- Says that a process of the HTTP interface lives, and keeps the places of its requests in progress.
--
-- ARGV  key of the processes, id of the process, ms until it counts as dead, then per request in progress: key of its
--       client's places, its id
-- Returns how many processes live.

local ends = now + tonumber(ARGV[3])
redis.call('ZADD', ARGV[1], ends, ARGV[2])
redis.call('ZREMRANGEBYSCORE', ARGV[1], '-inf', now)
redis.call('PEXPIRE', ARGV[1], ARGV[3])
for index = 4, #ARGV, 2 do
  redis.call('ZADD', ARGV[index], ends, ARGV[index + 1])
  redis.call('PEXPIRE', ARGV[index], ARGV[3])
end
return redis.call('ZCARD', ARGV[1])
