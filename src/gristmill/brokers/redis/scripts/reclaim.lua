-- Leases that are over go back, counted; and those of workers that are gone (ARGV: their names).
-- Returns what is known of those tasks now.
local gone_workers, ids = {}, nil
for at = 5, #ARGV do gone_workers[ARGV[at]] = true end
if #ARGV < 5 then
  ids = call('ZRANGEBYSCORE', LEASES, '-inf', NOW, 'LIMIT', 0, 1000)
else
  ids = call('ZRANGE', LEASES, 0, -1)
end
if #ids == 0 then return {} end
local tills = #ARGV < 5 and {} or fetch(ids, 'ZMSCORE', LEASES)
local tasks, saids = fetch(ids, 'HMGET', LIVE), fetch(ids, 'HMGET', SAID)
queue_due()
local taken = {}
for at, id in ipairs(ids) do
  local task = tasks[at] and unpacked(tasks[at])
  if not task or task[STATE] ~= 'running' then
    unleased[#unleased + 1] = id
  elseif gone_workers[task[WORKER]] or not tills[at] or tonumber(tills[at]) <= now then
    local how = gone_workers[task[WORKER]] and ' is gone' or ' went silent'
    local err = failure('LeaseExpired', 'worker ' .. task[WORKER] .. how, task[ATTEMPT])
    give_back(id, task, true, 0, err, nil, saids[at])
    taken[#taken + 1] = id
  end
end
flush()
return show(taken)
