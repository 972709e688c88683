-- Makes this the registry of a service, unless living workers of another one use it.
--
-- ARGV  name of the service
--
-- Returns the name of the other service, or ''.

local holder = redis.call('GET', service)
if holder and holder ~= ARGV[1] and redis.call('ZCOUNT', worker_ends, '(' .. whole(now), '+inf') > 0 then
  return holder
end
redis.call('SET', service, ARGV[1])
return ''
