-- Appends a status event unless the very same one is among the latest: sending again after an unclear time-out adds nothing.
--
-- KEYS[1]  the event stream of status events
-- ARGV[1]  length to trim to, approximately
-- ARGV[2]  JSON
-- ARGV[3]  ms after which entries go, approximately; 0 for never
-- Returns  1 when appended, 0 when it was there already

local RECENT = 256

for _, entry in ipairs(redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', RECENT)) do
  if entry[2][1] == 'event' and entry[2][2] == ARGV[2] then return 0 end
end
local id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'event', ARGV[2])
if tonumber(ARGV[3]) > 0 then
  local due_ms = string.match(id, '^%d+') - tonumber(ARGV[3]) -- by the server's clock, which made the id
  redis.call('XTRIM', KEYS[1], 'MINID', '~', string.format('%.0f', math.max(due_ms, 0)))
end
return 1
