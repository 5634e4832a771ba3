-- Tasks that are due are given out: priorities high to low, lanes in turn, in a lane what has been due longest.
-- ARGV: worker, how many, seconds of the lease, the cap of a lane (empty: none), queues.
-- Returns: when the next one is due, whether a full lane has held something back, entries that are not ours, and for each
-- task its message, its token, its attempt.
local worker, limit, lease, cap = ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local wanted = {}
for at = 9, #ARGV do wanted[ARGV[at]] = true end
local foreign, out, blocked = {}, {}, 0

queue_due()
local returners = {}
for _, name in ipairs(call('SMEMBERS', RETURNED)) do returners[name] = true end
local busy = {} -- running tasks by queue and lane, as far as somebody asked

local function room(lane)
  if not cap then return math.huge end
  local where = place(lane.queue, lane.lane)
  if not busy[where] then busy[where] = tonumber(call('HGET', RUNNING, where) or 0) end
  return cap - busy[where]
end

-- What was given back goes first; its entries are in the group's list of pending ones already.
local function read_returned(lane, most, got)
  local from = returned_key(lane.name)
  local members = call('ZRANGE', from, 0, most - 1)
  local ids = {}
  for at, one in ipairs(members) do ids[at] = string.sub(one, 17) end
  for at, task in ipairs(fetch(ids, 'HMGET', LIVE)) do
    if task then
      task = unpacked(task)
      call('XCLAIM', lane.name, GROUP, worker, 0, task[ENTRY], 'JUSTID')
      got[#got + 1] = {ids[at], task[ENTRY], body_of(ids[at], task)}
    end
  end
  each(members, 'ZREM', from)
  if call('EXISTS', from) == 0 then
    call('SREM', RETURNED, lane.name)
    returners[lane.name] = nil
  end
end

local function read_stream(lane, most)
  local got = redis.pcall('XREADGROUP', 'GROUP', GROUP, worker, 'COUNT', most, 'STREAMS', lane.name, '>')
  if got and got.err then
    if not string.find(got.err, 'NOGROUP', 1, true) then error(got.err) end
    call('XGROUP', 'CREATE', lane.name, GROUP, '0', 'MKSTREAM')
    got = call('XREADGROUP', 'GROUP', GROUP, worker, 'COUNT', most, 'STREAMS', lane.name, '>')
  end
  return got and got[1] and got[1][2] or {}
end

-- Up to so many tasks of one lane. A lane that had fewer is empty and leaves the turns.
local function read(lane, most)
  local got, read_all = {}, true
  if returners[lane.name] then read_returned(lane, most, got) end
  if #got < most then
    local entries = read_stream(lane, most - #got)
    read_all = #entries < most - #got
    for _, one in ipairs(entries) do
      if one[2][1] == 'id' and one[2][3] == 'message' then
        got[#got + 1] = {one[2][2], one[1], one[2][4]}
      else
        foreign[#foreign + 1] = one[1]
      end
    end
    lane.empty = read_all
  end
  return got
end

local function fewest_first(one, other)
  if one.served ~= other.served then return one.served < other.served end
  return one.at < other.at
end

-- The lanes take turns until so many are read. `once`: each is asked for one only, for there are others behind them.
local function serve(lanes, want, once, rows)
  local active = {}
  for _, lane in ipairs(lanes) do active[#active + 1] = lane end
  repeat
    table.sort(active, fewest_first)
    local share, more = math.floor(want / #active), want % #active
    local left = {}
    for at, lane in ipairs(active) do
      local free = room(lane)
      local most = once and math.min(1, want) or share + (at <= more and 1 or 0)
      most = math.min(most, free)
      if free <= 0 then
        blocked = 1
      elseif most > 0 then
        local got = read(lane, most)
        for _, row in ipairs(got) do
          lane.served = lane.served + 1
          row[4], row[5], row[6] = lane.served, lane.at, lane
          rows[#rows + 1] = row
        end
        want = want - #got
        local where = place(lane.queue, lane.lane)
        if cap then busy[where] = busy[where] + #got end
      end
      if free > 0 and not lane.empty then left[#left + 1] = lane end
    end
    active = left
  until want == 0 or #active == 0 or once
  return want
end

-- Lanes of these queues in turn, a window of them at a time.
local function window(priority, queues, size, offsets, lanes_by_name)
  local lanes, more = {}, false
  for _, queue in ipairs(queues) do
    local first = offsets[queue] or 0
    local found = call('ZRANGE', lanes_key(priority, queue), first, first + size - 1, 'WITHSCORES')
    if #found == size * 2 then more = true end
    for at = 1, #found, 2 do
      local name = stream(queue, priority, found[at])
      local lane = lanes_by_name[name]
      if not lane then
        lane = {queue = queue, lane = found[at], turn = tonumber(found[at + 1]), name = name, served = 0}
        lanes_by_name[name] = lane
      end
      lanes[#lanes + 1] = lane
    end
  end
  if #queues > 1 then table.sort(lanes, function(one, other) return one.turn < other.turn end) end
  return lanes, more
end

-- Those that were served go behind all others, those that are empty go away.
local function settle(priority, queues, lanes_by_name)
  local served, number, empty = {}, 0, {}
  for _, lane in pairs(lanes_by_name) do
    number = number + 1
    if lane.empty then
      if not empty[lane.queue] then empty[lane.queue] = {} end
      table.insert(empty[lane.queue], lane.lane)
      if lane.served == 0 and lane.lane ~= '' then drop_if_empty(lane.name) end
    elseif lane.served > 0 then
      served[#served + 1] = lane
    end
  end
  if #served > 0 and number > 1 then
    table.sort(served, fewest_first)
    local turn, turns = call('INCRBY', OWN .. 'turn', #served) - #served, {}
    for at, lane in ipairs(served) do
      if not turns[lane.queue] then turns[lane.queue] = {} end
      table.insert(turns[lane.queue], exact(turn + at))
      table.insert(turns[lane.queue], lane.lane)
    end
    for queue, some in pairs(turns) do each(some, 'ZADD', lanes_key(priority, queue)) end
  end
  for queue, some in pairs(empty) do
    each(some, 'ZREM', lanes_key(priority, queue))
    if call('EXISTS', lanes_key(priority, queue)) == 0 then call('ZREM', SEATS, priority .. ':' .. queue) end
  end
end

-- Up to `want` entries of one priority, in the order in which they are given out.
local function take(priority, queues, want)
  local rows, lanes_by_name, size, number = {}, {}, want + 16, 0
  local again
  repeat
    local before, offsets, more = want, {}, nil
    again = false
    repeat
      local lanes
      lanes, more = window(priority, queues, size, offsets, lanes_by_name)
      local some = {}
      for _, lane in ipairs(lanes) do
        if not lane.at then
          number = number + 1
          lane.at = number
        end
        if not lane.empty then some[#some + 1] = lane end
        offsets[lane.queue] = (offsets[lane.queue] or 0) + 1
      end
      if #some > 0 then want = serve(some, want, more, rows) end
      again = again or more
    until want == 0 or not more
  until want == 0 or want == before or not again
  settle(priority, queues, lanes_by_name)
  if number > 1 then
    table.sort(rows, function(one, other)
      if one[4] ~= other[4] then return one[4] < other[4] end
      return one[5] < other[5]
    end)
  end
  return rows
end

local function late(task)
  if task[DEADLINE] and task[DEADLINE] < now then return 'the deadline passed before the task could start' end
  if task[ATTEMPT] >= task[MOST] then return string.format('all %d attempts are used up', task[MOST]) end
  return nil
end

-- The entry of a task that waits no longer goes; of one that runs it stays.
local function stray(row, task)
  if task[ENTRY] ~= row[2] then acknowledge(task, stream_of(task), row[2]) end
end

local UNTIL = exact(now + lease)
local function start(rows)
  local ids = {}
  for at, row in ipairs(rows) do ids[at] = row[1] end
  local tasks = fetch(ids, 'HMGET', LIVE)
  for at, row in ipairs(rows) do
    local id, task = row[1], tasks[at] and unpacked(tasks[at])
    if not task or task[STATE] ~= 'queued' or task[ENTRY] ~= row[2] then
      if task then stray(row, task) else foreign[#foreign + 1] = row[2] end
    else
      local reason = late(task)
      if reason then
        local said = call('HGET', SAID, id)
        finish(id, task, 'dead', row[3], said, nil, failure('TaskDead', reason, task[ATTEMPT]))
      else
        -- No token comes twice, not even after the store has lost its memory and the task was published again.
        local token = math.max(task[TOKEN] + 1, math.floor(now * 1000000))
        task[STATE], task[TOKEN], task[ATTEMPT] = 'running', token, task[ATTEMPT] + 1
        task[WORKER], task[STARTED], task[CLAIM] = worker, now, NONCE
        change(id, task)
        row[6].started = true
        leased[#leased + 1] = UNTIL
        leased[#leased + 1] = id
        count(task, 1)
        out[#out + 1] = row[3]
        out[#out + 1] = token
        out[#out + 1] = task[ATTEMPT]
      end
    end
  end
end

-- A lane of which only such was read that does not start has had no turn.
local LOOKS = 100 -- in one claim
local function give_turns_back(priority, rows)
  for _, row in ipairs(rows) do
    local lane = row[6]
    if not lane.started then
      lane.started = true
      call('ZADD', lanes_key(priority, lane.queue), 'XX', exact(lane.turn), lane.lane)
    end
  end
end

local seats, at, looks = call('ZRANGE', SEATS, 0, -1), 1, 0
while at <= #seats and #out / 3 < limit do
  local priority, queues = string.match(seats[at], '^(%-?%d+):'), {}
  while at <= #seats and string.sub(seats[at], 1, #priority + 1) == priority .. ':' do
    local queue = string.sub(seats[at], #priority + 2)
    if wanted[queue] then queues[#queues + 1] = queue end
    at = at + 1
  end
  if #queues > 0 then
    local rows, before
    repeat -- what was read and cannot start leaves room for others
      before = #out
      rows = take(priority, queues, limit - #out / 3)
      start(rows)
      looks = looks + 1
      if looks < LOOKS then give_turns_back(priority, rows) end
    until #out - before == #rows * 3 or #out / 3 >= limit
  end
end
flush()

local due = ''
if #out == 0 then
  for queue in pairs(wanted) do
    local score = call('ZSCORE', DELAYS, queue)
    if score and (due == '' or tonumber(score) < tonumber(due)) then due = score end
  end
end
return {due, blocked, foreign, out}
