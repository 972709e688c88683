-- Says that somebody looks at previews; their workers make them for as long as these marks live.
--
-- KEYS  viewers
-- ARGV  life in ms, then channels of previews

local time = redis.call('TIME')
local expires = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[1]))
for i = 2, #ARGV do redis.call('HSET', KEYS[1], ARGV[i], expires) end
return 1
