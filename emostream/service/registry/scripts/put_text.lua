-- Keeps a text for a while.
--
-- ARGV  key, text, seconds

return redis.call('SET', ARGV[1], ARGV[2], 'EX', ARGV[3])
