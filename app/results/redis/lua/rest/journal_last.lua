-- name
local journal = BASE .. 'journal:' .. ARGV[2]
local last = redis.call('HGET', journal, 'last')
if not last then return false end
local value = redis.call('HGET', journal, last)
return value and {last, value}
