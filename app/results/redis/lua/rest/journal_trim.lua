-- name, before, how many at most
local journal = BASE .. 'journal:' .. ARGV[2]
local is = redis.call('HMGET', journal, 'first', 'last')
if not is[1] then return 0 end
local first = tonumber(is[1])
local to = math.min(tonumber(ARGV[3]) - 1, tonumber(is[2]), first + tonumber(ARGV[4]) - 1)
for number = first, to do redis.call('HDEL', journal, number) end
if to < first then return 0 end
redis.call('HSET', journal, 'first', to + 1)
return to - first + 1
