-- Takes a place for a request of a client, of those that all processes share.
--
-- ARGV  key of the client's places, id of the request, how many there are, ms until it is free again unless it is kept
-- Returns whether there was one.

redis.call('ZREMRANGEBYSCORE', ARGV[1], '-inf', now)
if redis.call('ZCARD', ARGV[1]) >= tonumber(ARGV[3]) then return 0 end
redis.call('ZADD', ARGV[1], now + tonumber(ARGV[4]), ARGV[2])
redis.call('PEXPIRE', ARGV[1], ARGV[4])
return 1
