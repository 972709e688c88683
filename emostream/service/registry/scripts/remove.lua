-- Removes a record with what was reported of it. Its owner notices at its next heartbeat.
--
-- ARGV  stream id
-- Returns  1 when it was there

return remove_record(ARGV[1])
