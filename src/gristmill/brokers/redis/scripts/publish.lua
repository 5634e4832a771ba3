-- Messages are accepted: ten arguments each. The last is the id of an ended task in whose place a new one comes (replay).
local WIDTH = 10
local ids, ends, keys, at_key = {}, {}, {}, {}
for at = 5, #ARGV, WIDTH do
  local id, key = ARGV[at], ARGV[at + 1]
  ids[#ids + 1] = id
  ends[#ends + 1] = end_key(id)
  if key ~= '' and not at_key[key] then
    keys[#keys + 1] = key_key(string.sub(key, 2))
    at_key[key] = #keys
  end
end
local live, holders = fetch(ids, 'HMGET', LIVE), fetch(keys, 'MGET')
local any_ended = 0
for first = 1, #ends, MANY do
  any_ended = any_ended + call('EXISTS', unpack(ends, first, math.min(first + MANY - 1, #ends)))
end
queue_due()

-- The task of this id if there is one; and whether this very call has made it, an earlier time that its answer was lost.
local seen = {}
local function known(at, id)
  local task = seen[id] or live[at] or (any_ended > 0 and call('GET', end_key(id)))
  if not task then return false, false end
  local ours = task ~= true and unpacked(task)[BORN] == NONCE
  seen[id] = true
  return true, ours
end

local function replayable(old)
  local task = call('GET', end_key(old))
  if not task then return false end
  task = unpacked(task)
  if task[STATE] == 'succeeded' then return false end
  return not task[KEY] or holders[at_key['=' .. task[KEY]] or 0] == old
end

local accepted, indexed, held = {}, {}, {}
local seq = call('INCRBY', OWN .. 'seq', #ids) - #ids
for at, id in ipairs(ids) do
  local from = 5 + (at - 1) * WIDTH
  local key, old = ARGV[from + 1], ARGV[from + 9]
  local there, ours = known(at, id)
  local free = not there
  if free and old ~= '' then
    free = replayable(old)
  elseif free and key ~= '' then
    free = not holders[at_key[key]]
  end
  if free then
    local delay, deadline = tonumber(ARGV[from + 5]), ARGV[from + 6]
    local task = {
      'queued', 0, tonumber(ARGV[from + 7]), 0, now, now + delay, deadline ~= '' and now + tonumber(deadline),
      seq + at, ARGV[from + 2], ARGV[from + 3], ARGV[from + 4], key ~= '' and string.sub(key, 2), '', '', false, 0,
      NONCE, '', '', {}
    }
    if task[DUE] > now then
      put_off(id, task, ARGV[from + 8])
    else
      push(id, task, ARGV[from + 8])
    end
    change(id, task)
    indexed[#indexed + 1] = seq + at
    indexed[#indexed + 1] = id
    if key ~= '' then
      holders[at_key[key]] = id
      held[#held + 1] = keys[at_key[key]]
      held[#held + 1] = id
    end
    seen[id] = true
  end
  accepted[at] = (free or ours) and 1 or 0
end
each(held, 'MSET')
each(indexed, 'ZADD', INDEX)
flush()
return accepted
