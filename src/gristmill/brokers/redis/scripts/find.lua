-- What is known of tasks by their keys.
local keys, ids, places = {}, {}, {}
for at = 5, #ARGV do keys[#keys + 1] = key_key(ARGV[at]) end
local shown = {}
for at, id in ipairs(fetch(keys, 'MGET')) do
  shown[at] = {}
  if id then
    ids[#ids + 1] = id
    places[#places + 1] = at
  end
end
for at, one in ipairs(show(ids)) do shown[places[at]] = one end
return shown
