-- What waits and runs, by queue. Returns for each: its name, queued, delayed, running, when the oldest was due.
if call('EXISTS', SEATS, DELAYS, RUNNING) == 0 then return {} end
local queues, names = {}, {}
local function of(queue)
  if not queues[queue] then
    queues[queue] = {queued = 0, delayed = 0, running = 0, oldest = nil}
    names[#names + 1] = queue
  end
  return queues[queue]
end

local function older(row, due)
  if due and (not row.oldest or due < row.oldest) then row.oldest = due end
end

local heads, rows = {}, {} -- the first entry of each lane that nobody has taken
local function look(queue, name)
  local row = of(queue)
  local pending, last = 0, '0-0'
  local groups = redis.pcall('XINFO', 'GROUPS', name)
  if groups.err then groups = {} end
  for _, group in ipairs(groups) do
    local fields = {}
    for at = 1, #group, 2 do fields[group[at]] = group[at + 1] end
    if fields['name'] == GROUP then pending, last = fields['pending'], fields['last-delivered-id'] end
  end
  row.queued = row.queued + call('XLEN', name) - pending
  local head = call('XRANGE', name, last, '+', 'COUNT', 2)
  for _, one in ipairs(head) do
    if one[1] ~= last then
      heads[#heads + 1] = one[2][2]
      rows[#rows + 1] = row
      break
    end
  end
  local returned = call('ZRANGE', returned_key(name), 0, 0, 'WITHSCORES')
  if returned[1] then
    row.queued = row.queued + call('ZCARD', returned_key(name))
    older(row, tonumber(returned[2]))
  end
end

for _, seat in ipairs(call('ZRANGE', SEATS, 0, -1)) do
  local priority = string.match(seat, '^(%-?%d+):')
  local queue = string.sub(seat, #priority + 2)
  for _, lane in ipairs(call('ZRANGE', lanes_key(priority, queue), 0, -1)) do
    look(queue, stream(queue, priority, lane))
  end
end
for at, task in ipairs(fetch(heads, 'HMGET', LIVE)) do
  if task then older(rows[at], unpacked(task)[DUE]) end
end
for _, queue in ipairs(call('ZRANGE', DELAYS, 0, -1)) do
  local row = of(queue)
  local due = call('ZCOUNT', delay_key(queue), '-inf', NOW)
  row.delayed = call('ZCARD', delay_key(queue)) - due
  row.queued = row.queued + due
  if due > 0 then older(row, tonumber(call('ZRANGE', delay_key(queue), 0, 0, 'WITHSCORES')[2])) end
end
local counts = call('HGETALL', RUNNING)
for at = 1, #counts, 2 do
  local queue = string.gsub(string.match(counts[at], '^[^:]*'), '%%(%x%x)', function(hex)
    return string.char(tonumber(hex, 16))
  end)
  local row = of(queue)
  row.running = row.running + tonumber(counts[at + 1])
end
local out = {}
for _, name in ipairs(names) do
  local row = queues[name]
  if row.queued + row.delayed + row.running > 0 then
    out[#out + 1] = {name, row.queued, row.delayed, row.running, row.oldest and exact(now - row.oldest) or '0'}
  end
end
return out
