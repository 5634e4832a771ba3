-- A named lock is taken or renewed. ARGV: its key (without the prefix), owner, seconds, milliseconds that the key is kept.
local key, owner, ttl = P .. ARGV[5], ARGV[6], tonumber(ARGV[7])
local held = call('GET', key)
if held then
  local till, holder = string.match(held, '^(%S+) (.*)$')
  -- A value that is not ours is a lock of the source's kind: its key's time to live decides.
  if not till or (holder ~= owner and tonumber(till) > now) then return 0 end
end
call('SET', key, exact(now + ttl) .. ' ' .. owner, 'PX', ARGV[8])
return 1
