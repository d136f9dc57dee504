-- name, value, expected number of the newest ('' for any)
local journal = BASE .. 'journal:' .. ARGV[2]
local last = tonumber(redis.call('HGET', journal, 'last') or 0)
if ARGV[4] ~= '' and tonumber(ARGV[4]) ~= last then return {'conflict', last} end
redis.call('HSETNX', journal, 'first', 1)
redis.call('HSET', journal, last + 1, ARGV[3], 'last', last + 1)
return {'ok', last + 1}
