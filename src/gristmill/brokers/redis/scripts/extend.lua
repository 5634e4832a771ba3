-- Leases are renewed. ARGV: seconds; then id and token of each. Returns 1 for those that are lost.
local ids, tokens = {}, {}
for at = 6, #ARGV, 2 do
  ids[#ids + 1] = ARGV[at]
  tokens[#tokens + 1] = tonumber(ARGV[at + 1])
end
local tasks, lost = fetch(ids, 'HMGET', LIVE), {}
local later = exact(now + tonumber(ARGV[5]))
for at, id in ipairs(ids) do
  local task = tasks[at] and unpacked(tasks[at])
  if task and task[STATE] == 'running' and task[TOKEN] == tokens[at] then
    leased[#leased + 1] = later
    leased[#leased + 1] = id
    lost[at] = 0
  else
    lost[at] = 1
  end
end
flush()
return lost
