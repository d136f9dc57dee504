-- queue, key
local name = ARGV[2] .. ':' .. ARGV[3]
redis.call('ZREM', BASE .. 'queue:' .. ARGV[2], ARGV[3])
if redis.call('UNLINK', BASE .. 'job:' .. name) == 1 then
  redis.call('SET', BASE .. 'did:' .. name, 1, 'PX', DEDUPE_MS)
end
return 1
