-- Registers a living process without streams, and removes those that have not called for long.
--
-- ARGV  key, id of the process, seconds

redis.call('ZADD', ARGV[1], whole(now / 1000), ARGV[2])
redis.call('ZREMRANGEBYSCORE', ARGV[1], '-inf', whole(now / 1000 - tonumber(ARGV[3])))
return 1
