-- Says that a run of a stream has begun, so that events of older runs are refused before it has published one.
--
-- KEYS[1]  the fence
-- ARGV[1]  epoch of the run
-- ARGV[2]  ms after which it is forgotten: by then its events tell the same, or the former owner has noticed

local DAY_MS = 86400000

local held = tonumber(redis.call('GET', KEYS[1]) or '') or -1
-- An epoch far ahead of the server's clock was not given out by it (append_events.lua).
local time = redis.pcall('TIME')
if not time.err and held > time[1] * 1000 + DAY_MS and tonumber(ARGV[1]) <= time[1] * 1000 + DAY_MS then held = -1 end
if held <= tonumber(ARGV[1]) then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
