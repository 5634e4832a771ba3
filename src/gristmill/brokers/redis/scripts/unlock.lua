-- A named lock is given back by its owner. ARGV: its key (without the prefix), owner.
local key = P .. ARGV[5]
local held = call('GET', key)
if held and string.match(held, '^%S+ (.*)$') == ARGV[6] then call('DEL', key) end
return 0
