-- Marks that the server lost a part of its data, so that every worker writes back what it knows.
--
-- ARGV  known generation, new generation
-- Returns  1 when this worker is the first to notice, else 0

if redis.call('GET', generation) ~= ARGV[1] then return 0 end
redis.call('SET', generation, ARGV[2])
return 1
