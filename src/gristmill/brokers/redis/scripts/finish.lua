-- Leases end: six arguments each: id, token, state, result, error, message (empty: it is read from the stream).
local WIDTH = 6
local ids = {}
for at = 5, #ARGV, WIDTH do ids[#ids + 1] = ARGV[at] end
local tasks, saids = fetch(ids, 'HMGET', LIVE), fetch(ids, 'HMGET', SAID)
local done, seen = {}, {}

-- Whether this very call has written this end, an earlier time that its answer was lost.
local function repeated(id, token)
  local task = call('GET', end_key(id))
  task = task and unpacked(task)
  return task and task[DONE] == signed(token)
end

for at, id in ipairs(ids) do
  local from = 5 + (at - 1) * WIDTH
  local token, task = tonumber(ARGV[from + 1]), tasks[at] and unpacked(tasks[at])
  done[at] = 0
  if seen[id] then
    done[at] = 0
  elseif task and task[STATE] == 'running' and task[TOKEN] == token then
    local result, err, body = ARGV[from + 3], ARGV[from + 4], ARGV[from + 5]
    if body == '' then body = body_of(id, task) end
    finish(id, task, ARGV[from + 2], body, saids[at], result ~= '' and result, err ~= '' and err)
    seen[id] = true
    done[at] = 1
  elseif not task and repeated(id, token) then
    seen[id] = true
    done[at] = 1
  end
end
flush()
return done
