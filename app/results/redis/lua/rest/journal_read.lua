-- name, after, how many
local journal, found = BASE .. 'journal:' .. ARGV[2], {}
local is = redis.call('HMGET', journal, 'first', 'last')
local from = math.max(tonumber(ARGV[3]) + 1, tonumber(is[1] or 1))
local to = math.min(from + tonumber(ARGV[4]) - 1, tonumber(is[2] or 0))
for number = from, to do
  found[#found + 1] = {number, redis.call('HGET', journal, number)}
end
return found
