-- Takes a client's turn in the rate that all processes share (GCRA: the time until which its requests are spent).
--
-- ARGV  key of the client, requests per second, how many may come at once
-- Returns 0 when it may ask now, else the ms to wait.

local interval = 1000 / tonumber(ARGV[2])
local spent_until = math.max(tonumber(redis.call('GET', ARGV[1]) or 0), now)
local wait = spent_until - now - (tonumber(ARGV[3]) - 1) * interval
-- A clock that was set back would keep everybody waiting.
if wait > tonumber(ARGV[3]) * interval then spent_until, wait = now, 0 end
if wait > 0 then return math.ceil(wait) end
spent_until = spent_until + interval
redis.call('SET', ARGV[1], string.format('%.3f', spent_until), 'PX', math.ceil(spent_until - now) + 1000)
return 0
