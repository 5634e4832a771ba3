-- What running tasks say of themselves: five arguments each: id, token, value, message, data.
local WIDTH = 5
local ids = {}
for at = 5, #ARGV, WIDTH do ids[#ids + 1] = ARGV[at] end
local tasks, kept, said, done = fetch(ids, 'HMGET', LIVE), {}, {}, {}
for at, id in ipairs(ids) do
  local from = 5 + (at - 1) * WIDTH
  local task = tasks[at] and unpacked(tasks[at])
  done[at] = 0
  if task and task[STATE] == 'running' and task[TOKEN] == tonumber(ARGV[from + 1]) then
    local value, message = tonumber(ARGV[from + 2]), ARGV[from + 3]
    kept[#kept + 1] = id
    kept[#kept + 1] = pack({value, message, ARGV[from + 4]})
    said[#said + 1] = {id, 'running', value, message, task[WORKER]}
    done[at] = 1
  end
end
each(kept, 'HSET', SAID)
if #said > 0 then call('PUBLISH', OWN .. 'notices:progress', pack(said)) end
return done
