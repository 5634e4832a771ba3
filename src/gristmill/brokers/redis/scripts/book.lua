-- Tokens of a bucket are booked. ARGV: name, rate, burst, cost, the longest wait (empty: any), milliseconds more that the
-- key is kept. The bucket is one number: when it is, or was, empty; with the last call that booked, should it come again.
local key = OWN .. 'rate:' .. ARGV[5]
local rate, burst, cost, most = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local empty, last = string.match(call('GET', key) or '', '^(%S+) (.*)$')
local full = now - burst / rate
empty = tonumber(empty) or full
if last == NONCE then return exact(math.max(0, empty - now)) end
local after = math.max(empty, full) + cost / rate
local wait = math.max(0, after - now)
if not most or wait <= most then
  local kept = math.ceil((after + burst / rate - now) * 1000) + tonumber(ARGV[10]) -- then it is full, as an unknown one
  call('SET', key, exact(after) .. ' ' .. NONCE, 'PX', string.format('%.0f', math.min(kept, 1e13)))
end
return exact(wait)
