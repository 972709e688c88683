-- Appends a status event unless the very same one is among the latest: sending again after an unclear time-out adds nothing.
--
-- KEYS[1]  the event stream of status events
-- ARGV[1]  length to trim to, approximately
-- ARGV[2]  JSON
-- Returns  1 when appended, 0 when it was there already

local RECENT = 256

for _, entry in ipairs(redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', RECENT)) do
  if entry[2][1] == 'event' and entry[2][2] == ARGV[2] then return 0 end
end
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'event', ARGV[2])
return 1
