-- kind, key
local is = redis.call('HMGET', BASE .. 'doc:' .. ARGV[2] .. ':' .. ARGV[3], 'j', 'n', 'c')
return is[1] and is or false
