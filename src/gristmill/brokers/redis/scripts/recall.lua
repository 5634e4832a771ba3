-- What a claim whose answer was lost had taken: its leases again. ARGV: worker, the nonce of the claim.
local held = call('ZRANGE', LEASES, 0, -1)
local out = {}
for at, task in ipairs(fetch(held, 'HMGET', LIVE)) do
  task = task and unpacked(task)
  if task and task[STATE] == 'running' and task[WORKER] == ARGV[5] and task[CLAIM] == ARGV[6] then
    out[#out + 1] = body_of(held[at], task)
    out[#out + 1] = task[TOKEN]
    out[#out + 1] = task[ATTEMPT]
  end
end
return out
