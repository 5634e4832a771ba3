-- Ended tasks are forgotten. ARGV: ended how many seconds ago at least, how many at most, state.
-- Returns how many were there, and how many were looked at.
local before, most, state = exact(now - tonumber(ARGV[5])), tonumber(ARGV[6]), ARGV[7]
local from = OWN .. 'ended:' .. state
local ids = call('ZRANGEBYSCORE', from, '-inf', before, 'LIMIT', 0, most)
local ends, keys, owners, there = {}, {}, {}, 0
for at, id in ipairs(ids) do ends[at] = end_key(id) end
for at, task in ipairs(fetch(ends, 'MGET')) do
  if task then
    there = there + 1
    task = unpacked(task)
    if task[KEY] then
      keys[#keys + 1] = key_key(task[KEY])
      owners[#owners + 1] = ids[at]
    end
  end
end
local mine = {}
for at, holder in ipairs(fetch(keys, 'MGET')) do
  if holder == owners[at] then mine[#mine + 1] = keys[at] end
end
each(mine, 'DEL')
each(ends, 'DEL')
each(ids, 'ZREM', from)
each(ids, 'ZREM', INDEX)
return {there, #ids}
