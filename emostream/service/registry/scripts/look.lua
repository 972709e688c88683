-- Says that somebody looks at previews; their workers make them for as long as these marks live.
--
-- ARGV  life in ms, then channels of previews

for i = 2, #ARGV do redis.call('HSET', viewers, ARGV[i], whole(now + tonumber(ARGV[1]))) end
return 1
