-- id
return redis.call('HGETALL', BASE .. 'call:' .. ARGV[2])
