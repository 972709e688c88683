-- Sets one field of a hash of the registry.
--
-- ARGV  key, field, text

return redis.call('HSET', ARGV[1], ARGV[2], ARGV[3])
