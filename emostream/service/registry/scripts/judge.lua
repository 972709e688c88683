-- Stores a worker's verdict on a stream that it owns but cannot run, or withdraws it.
--
-- ARGV  worker id, stream id, epoch, verdict ('' withdraws it)
-- Returns  JSON of all verdicts on the stream: worker id → verdict
--
-- Verdicts of workers that are gone are dropped, except those about the source itself. Damaged entries count as none.

local me, id, epoch, verdict = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local found = redis.call('HGET', verdicts, id)
if redis.call('HGET', leases, id) ~= me .. ' ' .. epoch or redis.call('HEXISTS', records, id) == 0 then
  return found or ''
end
local is_json, judges = pcall(cjson.decode, found or '{}')
local kept, num_kept = {}, 0
for worker, said in pairs(is_json and type(judges) == 'table' and judges or {}) do
  if worker ~= me and (said == 'refused' or said == 'damaged' or redis.call('HEXISTS', workers, worker) == 1) then
    kept[worker] = said
    num_kept = num_kept + 1
  end
end
if verdict ~= '' then
  kept[me] = verdict
  num_kept = num_kept + 1
end
if num_kept == 0 then
  redis.call('HDEL', verdicts, id)
  return ''
end
redis.call('HSET', verdicts, id, cjson.encode(kept))
return redis.call('HGET', verdicts, id)
