-- Leases are given back: six arguments each: id, token, delay, whether the attempt counts, error, message.
local WIDTH = 6
local ids = {}
for at = 5, #ARGV, WIDTH do ids[#ids + 1] = ARGV[at] end
local tasks, saids = fetch(ids, 'HMGET', LIVE), fetch(ids, 'HMGET', SAID)
local done, seen = {}, {}

local function repeated(id, task, token)
  if not task then
    task = call('GET', end_key(id))
    task = task and unpacked(task)
  end
  return task and task[DONE] == signed(token)
end

queue_due()
for at, id in ipairs(ids) do
  local from = 5 + (at - 1) * WIDTH
  local token, task = tonumber(ARGV[from + 1]), tasks[at] and unpacked(tasks[at])
  done[at] = 0
  if seen[id] then
    done[at] = 0
  elseif task and task[STATE] == 'running' and task[TOKEN] == token then
    local err, body = ARGV[from + 4], ARGV[from + 5]
    give_back(id, task, ARGV[from + 3] == '1', tonumber(ARGV[from + 2]), err ~= '' and err or nil,
      body ~= '' and body or nil, saids[at])
    seen[id] = true
    done[at] = 1
  elseif repeated(id, task, token) then
    seen[id] = true
    done[at] = 1
  end
end
flush()
return done
