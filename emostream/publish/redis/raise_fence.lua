-- Says that a run of a stream has begun, so that events of older runs are refused before it has published one.
--
-- KEYS[1]  the fence
-- ARGV[1]  epoch of the run
-- ARGV[2]  ms after which it is forgotten: by then its events tell the same, or whoever was deposed has noticed

local held = redis.call('GET', KEYS[1])
if (tonumber(held or '') or -1) <= tonumber(ARGV[1]) then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
