-- What all steps share. Each step is this text and its own, one script, one atomic step of the store.
-- KEYS[1] names the hash of the tasks that have not ended; what stands before its name is the prefix of every key.
-- ARGV: the time (empty: the store's own clock), the nonce of the call, seconds that good ends are kept, seconds that
-- bad ones are kept; after these four come the step's own.
local P = string.sub(KEYS[1], 1, -15)
local OWN = P .. 'gristmill:'
local GROUP = 'rag_flow_svr_task_broker'
local LIVE, LEASES, SAID, BODIES = KEYS[1], OWN .. 'leases', OWN .. 'said', OWN .. 'bodies'
local SEATS, DELAYS, RETURNED, RUNNING = OWN .. 'seats', OWN .. 'delays', OWN .. 'returned', OWN .. 'running'
local INDEX, STREAMS = OWN .. 'index', OWN .. 'streams'
local NONCE, GOOD, BAD = ARGV[2], ARGV[3], ARGV[4]

-- A task is one array. What has ended has five places more.
local STATE, ATTEMPT, MOST, TOKEN, PUBLISHED, DUE, DEADLINE, SEQ, QUEUE, PRIORITY = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
local LANE, KEY, ENTRY, WORKER, STARTED, CANCEL, BORN, CLAIM, DONE, HISTORY = 11, 12, 13, 14, 15, 16, 17, 18, 19, 20
local ENDED, BODY, RESULT, ERROR, LAST = 21, 22, 23, 24, 25

local call, pack, unpacked = redis.call, cmsgpack.pack, cmsgpack.unpack

local function exact(number) return string.format('%.17g', number) end

local now
if ARGV[1] == '' then
  local time = call('TIME')
  now = tonumber(time[1]) + tonumber(time[2]) / 1000000
else
  now = tonumber(ARGV[1])
end
local NOW = exact(now)

local MANY = 4000 -- arguments of one command; Lua's stack ends at 8000

local function each(items, ...)
  if #items == 0 then return end
  local head = {...}
  local width = #head
  for first = 1, #items, MANY do
    local last = math.min(first + MANY - 1, #items)
    for at = first, last do head[width + at - first + 1] = items[at] end
    call(unpack(head, 1, width + last - first + 1))
  end
end

-- The answers of HMGET, MGET, ZMSCORE for any number of fields.
local function fetch(items, ...)
  if #items == 0 then return {} end
  local head = {...}
  local width, found = #head, nil
  for first = 1, #items, MANY do
    local last = math.min(first + MANY - 1, #items)
    for at = first, last do head[width + at - first + 1] = items[at] end
    local some = call(unpack(head, 1, width + last - first + 1))
    if first == 1 then
      found = some
    else
      for at = 1, #some do found[first + at - 1] = some[at] end
    end
  end
  return found
end

local function end_key(id) return OWN .. 'end:' .. id end
local function key_key(key) return OWN .. 'key:' .. key end
local function lanes_key(priority, queue) return OWN .. 'lanes:' .. priority .. ':' .. queue end
local function delay_key(queue) return OWN .. 'delay:' .. queue end
local function returned_key(name) return RETURNED .. ':' .. string.sub(name, #P + 1) end
local function cancel_key(id) return P .. id .. '-cancel' end
local function member(id, task) return string.format('%016d', task[SEQ]) .. id end

local ESCAPES = {['%'] = '%25', [':'] = '%3A'}
local function escaped(text) return (string.gsub(text, '[%%:]', ESCAPES)) end

-- The stream of a lane. The lane that has no name, of the queue "default", has the source's name.
local function stream(queue, priority, lane)
  local name = P .. 'rag_flow_svr_queue'
  if priority ~= '0' then name = name .. '_' .. priority end
  if lane ~= '' then return name .. ':' .. escaped(queue) .. ':' .. lane end
  if queue ~= 'default' then name = name .. ':' .. escaped(queue) end
  return name
end

local function stream_of(task) return stream(task[QUEUE], task[PRIORITY], task[LANE]) end

-- Where running tasks are counted: by queue and lane, over all priorities.
local function place(queue, lane) return escaped(queue) .. ':' .. lane end

local function failure(kind, message, attempt)
  return string.format(
    '{"type":"%s","message":%s,"attempt":%d,"at":%s}', kind, cjson.encode(message), attempt, NOW)
end

-- What a step changes is gathered here and written by flush at its end, all of a kind in one command.
local changed, gone, leased, unleased, unsaid = {}, {}, {}, {}, {}
local acked, running, ended, news = {}, {}, {}, {}
local opened, is_open, woken, named = {}, {}, {}, {}

local function change(id, task)
  changed[#changed + 1] = id
  changed[#changed + 1] = pack(task)
end

local function acknowledge(task, name, entry)
  if task[LANE] ~= '' then named[name] = true end
  local some = acked[name]
  if not some then
    some = {}
    acked[name] = some
  end
  some[#some + 1] = entry
end

local function count(task, by)
  local where = place(task[QUEUE], task[LANE])
  running[where] = (running[where] or 0) + by
end

local function tell(id, task, said)
  local value, message = 0, ''
  if said then
    said = unpacked(said)
    value, message = said[1], said[2]
  end
  news[#news + 1] = {id, task[STATE], value, message, task[WORKER]}
end

-- A lane that has something takes part in the turns, behind those that wait.
local function open(task, name)
  if not is_open[name] then
    is_open[name] = true
    opened[#opened + 1] = {task[QUEUE], task[PRIORITY], task[LANE], name}
  end
end

local function open_lanes()
  if #opened == 0 then return end
  local turn = call('INCRBY', OWN .. 'turn', #opened) - #opened
  for at, one in ipairs(opened) do
    if call('ZADD', lanes_key(one[2], one[1]), 'NX', exact(turn + at), one[3]) == 1 then
      call('ZADD', SEATS, -one[2], one[2] .. ':' .. one[1])
      woken[one[1]] = true
      if one[3] == '' then call('SADD', STREAMS, one[4]) end -- the streams that stay
    end
  end
  opened, is_open = {}, {}
end

local function wake()
  if not next(woken) then return end
  local queues = {}
  for queue in pairs(woken) do queues[#queues + 1] = queue end
  call('PUBLISH', OWN .. 'wake', pack(queues))
end

-- A lane's stream goes when nothing of it is queued or running; the nameless ones stay.
local function drop_if_empty(name)
  if call('XLEN', name) == 0 then call('DEL', name) end
end

-- The mark of one lease's end by one call: seen again when the answer was lost and the call is repeated.
local function signed(token) return NONCE .. ':' .. string.format('%.0f', token) end

local function flush()
  each(changed, 'HSET', LIVE)
  each(gone, 'HDEL', LIVE)
  each(leased, 'ZADD', LEASES)
  each(unleased, 'ZREM', LEASES)
  each(unsaid, 'HDEL', SAID)
  for name, entries in pairs(acked) do
    each(entries, 'XACK', name, GROUP)
    each(entries, 'XDEL', name)
  end
  for where, by in pairs(running) do
    if by ~= 0 and call('HINCRBY', RUNNING, where, by) <= 0 then call('HDEL', RUNNING, where) end
  end
  for state, some in pairs(ended) do each(some, 'ZADD', OWN .. 'ended:' .. state) end
  open_lanes()
  for name in pairs(named) do drop_if_empty(name) end
  wake()
  if #news > 0 then call('PUBLISH', OWN .. 'notices:state', pack(news)) end
end

-- The message of a task that has not ended.
local function body_of(id, task)
  if task[ENTRY] == '' then return call('HGET', BODIES, id) end
  local found = call('XRANGE', stream_of(task), task[ENTRY], task[ENTRY])
  if found[1] then return found[1][2][4] end
  return string.format('{"id":"%s","task":"(its message was removed from the stream)"}', id)
end

local function push(id, task, body)
  local name = stream_of(task)
  task[ENTRY] = call('XADD', name, '*', 'id', id, 'message', body)
  open(task, name)
end

-- Of a queue: when its next delayed task is due.
local function note_delay(queue)
  local head = call('ZRANGE', delay_key(queue), 0, 0, 'WITHSCORES')
  if head[1] then
    call('ZADD', DELAYS, head[2], queue)
    return head[1]
  end
  call('ZREM', DELAYS, queue)
  return nil
end

local function put_off(id, task, body)
  local queue = task[QUEUE]
  task[ENTRY] = ''
  call('HSET', BODIES, id, body)
  call('ZADD', delay_key(queue), exact(task[DUE]), member(id, task))
  if note_delay(queue) == member(id, task) then woken[queue] = true end -- who waits, waits for less now
end

local function take_off(id, task)
  call('ZREM', delay_key(task[QUEUE]), member(id, task))
  call('HDEL', BODIES, id)
  note_delay(task[QUEUE])
end

-- Delayed tasks whose time has come queue up. Every step that queues others does this first: so the order in a stream
-- is the order of what has been due longest.
local function queue_due()
  for _, queue in ipairs(call('ZRANGEBYSCORE', DELAYS, '-inf', NOW)) do
    local due = call('ZRANGEBYSCORE', delay_key(queue), '-inf', NOW, 'LIMIT', 0, 2000)
    local ids = {}
    for at, one in ipairs(due) do ids[at] = string.sub(one, 17) end
    local tasks, bodies = fetch(ids, 'HMGET', LIVE), fetch(ids, 'HMGET', BODIES)
    for at, id in ipairs(ids) do
      if tasks[at] then
        local task = unpacked(tasks[at])
        push(id, task, bodies[at])
        change(id, task)
      end
    end
    each(due, 'ZREM', delay_key(queue))
    each(ids, 'HDEL', BODIES)
    note_delay(queue)
  end
  each(changed, 'HSET', LIVE)
  changed = {}
  open_lanes()
end

-- The task ends: one record with a time to live instead of all its places.
local function finish(id, task, state, body, said, result, err)
  if task[STATE] == 'running' then
    unleased[#unleased + 1] = id
    count(task, -1)
  end
  if task[ENTRY] == '' then
    take_off(id, task)
  else
    acknowledge(task, stream_of(task), task[ENTRY])
  end
  if said then unsaid[#unsaid + 1] = id end
  local kept = (state == 'succeeded' or state == 'cancelled') and GOOD or BAD
  task[STATE], task[ENDED], task[DONE], task[BODY] = state, now, signed(task[TOKEN]), body
  task[RESULT], task[ERROR], task[LAST] = result or false, err or false, said or false
  call('SET', end_key(id), pack(task), 'EX', kept)
  if task[KEY] then call('EXPIRE', key_key(task[KEY]), kept) end
  if task[CANCEL] == 1 then call('DEL', cancel_key(id)) end
  gone[#gone + 1] = id
  if not ended[state] then ended[state] = {} end
  local some = ended[state]
  some[#some + 1] = NOW
  some[#some + 1] = id
  tell(id, task, said)
end

-- A lease is given back: queued again, or ended where a cancel was asked for or no attempt is left.
local function give_back(id, task, counted, delay, err, body, said)
  if err then task[HISTORY][#task[HISTORY] + 1] = err end
  task[DONE] = signed(task[TOKEN])
  if task[CANCEL] == 1 then
    err = failure('TaskCancelled', 'cancelled', task[ATTEMPT])
    return finish(id, task, 'cancelled', body or body_of(id, task), said, nil, err)
  end
  if counted and task[ATTEMPT] >= task[MOST] then
    err = err or failure('TaskDead', string.format('all %d attempts are used up', task[MOST]), task[ATTEMPT])
    return finish(id, task, 'dead', body or body_of(id, task), said, nil, err)
  end
  unleased[#unleased + 1] = id
  count(task, -1)
  task[STATE], task[WORKER] = 'queued', ''
  if not counted then task[ATTEMPT] = task[ATTEMPT] - 1 end
  local name = stream_of(task)
  if delay > 0 then
    body = body or body_of(id, task)
    acknowledge(task, name, task[ENTRY])
    task[DUE] = now + delay
    put_off(id, task, body)
  else -- its entry stays where it is: what was claimed goes before what was not
    call('ZADD', returned_key(name), exact(task[DUE]), member(id, task))
    call('SADD', RETURNED, name)
    open(task, name)
  end
  change(id, task)
  tell(id, task, said)
end

-- All that is known of these tasks: for each nothing, or {its array, lease, progress, message}, or {its array}.
local function show(ids)
  local tasks, saids = fetch(ids, 'HMGET', LIVE), fetch(ids, 'HMGET', SAID)
  local leases, ends = fetch(ids, 'ZMSCORE', LEASES), {}
  for at, id in ipairs(ids) do ends[at] = end_key(id) end
  ends = fetch(ends, 'MGET')
  local shown = {}
  for at, id in ipairs(ids) do
    if tasks[at] then
      shown[at] = {tasks[at], leases[at] or '', saids[at] or '', body_of(id, unpacked(tasks[at]))}
    elseif ends[at] then
      shown[at] = {ends[at]}
    else
      shown[at] = {}
    end
  end
  return shown
end
