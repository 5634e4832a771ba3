-- A sign of life. ARGV: name, its JSON, seconds until the worker is silent, seconds that signs are kept.
local name, till, kept = ARGV[5], now + tonumber(ARGV[7]), tonumber(ARGV[8])
local key = P .. name
call('ZADD', key, NOW, ARGV[6])
call('ZREMRANGEBYSCORE', key, '-inf', '(' .. exact(now - kept))
call('EXPIRE', key, kept)
if till > now then
  call('ZADD', OWN .. 'alive', exact(till), name)
  call('SADD', P .. 'TASKEXE', name)
else -- it leaves
  call('ZREM', OWN .. 'alive', name)
  call('SREM', P .. 'TASKEXE', name)
end
return 0
