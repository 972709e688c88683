-- Marks previews as watched; workers make them until these marks expire.
--
-- ARGV  lifetime in ms, then channels of previews

for i = 2, #ARGV do redis.call('HSET', viewers, ARGV[i], whole(now + tonumber(ARGV[1]))) end
return 1
