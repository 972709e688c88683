-- Deletes a record and its reports. Its owner notices at its next heartbeat.
--
-- ARGV  stream id
-- Returns  1 when it existed

return remove_record(ARGV[1])
