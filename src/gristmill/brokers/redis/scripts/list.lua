-- One page of the known tasks, newest first. ARGV: before which number (empty: the newest), how many to look at, how many
-- to return at most, queue and lane ('=name', empty: any), states.
-- Returns the number to go on before (empty: there are no more), and what is known of those that fit.
local before, look, most, queue, lane = ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8], ARGV[9]
local states, any = {}, #ARGV < 10
for at = 10, #ARGV do states[ARGV[at]] = true end
local from = before == '' and '+inf' or '(' .. before
local found = call('ZREVRANGEBYSCORE', INDEX, from, '-inf', 'WITHSCORES', 'LIMIT', 0, look)
local ids, ends, fit, lost, next_before = {}, {}, {}, {}, ''
for at = 1, #found, 2 do
  ids[#ids + 1] = found[at]
  ends[#ends + 1] = end_key(found[at])
end
local live, over = fetch(ids, 'HMGET', LIVE), fetch(ends, 'MGET')
for at, id in ipairs(ids) do
  if #fit == most then break end
  next_before = found[at * 2]
  local task = live[at] or over[at]
  if task then
    task = unpacked(task)
    if (any or states[task[STATE]]) and (queue == '' or queue == '=' .. task[QUEUE])
      and (lane == '' or lane == '=' .. task[LANE]) then fit[#fit + 1] = id end
  else
    lost[#lost + 1] = id -- its time to live is over
  end
end
each(lost, 'ZREM', INDEX)
if #ids < look and #fit < most then next_before = '' end
return {next_before, show(fit)}
