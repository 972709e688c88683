-- Removes a job with all that belongs to it; workers stop its files at their next heartbeat.
--
-- ARGV  job id
-- Returns  1 when it was there

return remove_job(ARGV[1])
