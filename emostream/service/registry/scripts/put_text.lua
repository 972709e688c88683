-- Sets a key that expires.
--
-- ARGV  key, text, seconds

return redis.call('SET', ARGV[1], ARGV[2], 'EX', ARGV[3])
