-- Silent workers leave the registry; consumers that beat no more leave the groups unless entries are still theirs.
-- Whoever gets the lock of the source does it. ARGV: owner, seconds of the lock.
local lock = P .. 'clean_task_executor'
if not call('SET', lock, exact(now + tonumber(ARGV[6])) .. ' ' .. ARGV[5], 'NX', 'EX', ARGV[6]) then return {} end
local alive = {}
local silent = call('ZRANGEBYSCORE', OWN .. 'alive', '-inf', '(' .. NOW)
each(silent, 'ZREM', OWN .. 'alive')
each(silent, 'SREM', P .. 'TASKEXE')
for _, name in ipairs(call('ZRANGE', OWN .. 'alive', 0, -1)) do alive[name] = true end
for _, name in ipairs(call('SMEMBERS', STREAMS)) do
  local consumers = redis.pcall('XINFO', 'CONSUMERS', name, GROUP)
  if consumers.err then
    if call('EXISTS', name) == 0 then call('SREM', STREAMS, name) end
    consumers = {}
  end
  for _, one in ipairs(consumers) do
    local fields = {}
    for at = 1, #one, 2 do fields[one[at]] = one[at + 1] end
    if fields['pending'] == 0 and not alive[fields['name']] then
      call('XGROUP', 'DELCONSUMER', name, GROUP, fields['name'])
    end
  end
end
return silent
