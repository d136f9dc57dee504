-- queue, key, due (epoch seconds), payload, how long it is kept (ms)
local job, queue = BASE .. 'job:' .. ARGV[2] .. ':' .. ARGV[3], BASE .. 'queue:' .. ARGV[2]
local id = redis.call('HGET', job, 'c')
if not id then return 0 end
redis.call('HSET', job, 'p', ARGV[5])
keep(job, tonumber(ARGV[6]))
redis.call('ZADD', queue, ARGV[4], ARGV[3])
keep(queue, ARGV[6] * 1.2)
if id ~= '' then keep(BASE .. 'things:' .. id, ARGV[6] * 1.2) end
return 1
