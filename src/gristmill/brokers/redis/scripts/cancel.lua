-- Queued tasks end now, running ones are marked and told. ARGV: reason, ids. Returns the states before.
local reason, ids = ARGV[5], {}
for at = 6, #ARGV do ids[#ids + 1] = ARGV[at] end
local tasks, saids = fetch(ids, 'HMGET', LIVE), fetch(ids, 'HMGET', SAID)
local before, seen, told = {}, {}, {}

local function ended_before(id)
  local task = call('GET', end_key(id))
  if not task then return '' end
  task = unpacked(task)
  if task[STATE] == 'cancelled' and task[DONE] == signed(task[TOKEN]) then return 'queued' end -- by this call, whose answer was lost
  return task[STATE]
end

for at, id in ipairs(ids) do
  local task = tasks[at] and unpacked(tasks[at])
  before[at] = task and task[STATE] or ended_before(id)
  if task and not seen[id] then
    seen[id] = true
    if task[STATE] == 'queued' then
      local body, name = body_of(id, task), stream_of(task)
      if task[ENTRY] ~= '' and call('ZREM', returned_key(name), member(id, task)) == 1
        and call('EXISTS', returned_key(name)) == 0 then call('SREM', RETURNED, name) end
      local why = reason ~= '' and reason or 'cancelled'
      finish(id, task, 'cancelled', body, saids[at], nil, failure('TaskCancelled', why, task[ATTEMPT]))
    else
      local value = saids[at] and unpacked(saids[at])[1] or 0
      task[CANCEL] = 1
      change(id, task)
      call('SET', cancel_key(id), 'x', 'EX', 3600)
      told[#told + 1] = {id, 'running', value, reason, task[WORKER]}
    end
  end
end
flush()
if #told > 0 then call('PUBLISH', OWN .. 'notices:cancel', pack(told)) end
return before
