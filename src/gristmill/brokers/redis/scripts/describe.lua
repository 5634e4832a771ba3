-- What is known of tasks by their ids.
local ids = {}
for at = 5, #ARGV do ids[#ids + 1] = ARGV[at] end
return show(ids)
