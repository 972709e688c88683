-- Deletes a job and all that belongs to it; workers stop its files at their next heartbeat.
--
-- ARGV  job id
-- Returns  1 when it existed

return remove_job(ARGV[1])
