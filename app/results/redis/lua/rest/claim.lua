-- queue, now, until when they are taken (epoch seconds), how many
local queue = BASE .. 'queue:' .. ARGV[2]
local found = {}
for _, key in ipairs(redis.call('ZRANGEBYSCORE', queue, '-inf', ARGV[3], 'LIMIT', 0, ARGV[5])) do
  local job = BASE .. 'job:' .. ARGV[2] .. ':' .. key
  local is = redis.call('HMGET', job, 'p', 'c')
  if is[1] then
    redis.call('ZADD', queue, ARGV[4], key)
    found[#found + 1] = {key, is[1], redis.call('HINCRBY', job, 'n', 1), is[2]}
  else
    redis.call('ZREM', queue, key)
  end
end
return found
