-- queue
return redis.call('ZCARD', BASE .. 'queue:' .. ARGV[2])
