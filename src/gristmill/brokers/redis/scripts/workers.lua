-- The latest sign of life of each worker that is not silent for too long.
local found = {}
for _, name in ipairs(call('ZRANGEBYSCORE', OWN .. 'alive', '(' .. NOW, '+inf')) do
  local latest = call('ZREVRANGE', P .. name, 0, 0)
  if latest[1] then found[#found + 1] = latest[1] end
end
return found
