-- id, digest of the secret, owner, now (epoch seconds)
local id = ARGV[2]
local call = BASE .. 'call:' .. id
local is = redis.call('HMGET', call, 's', 'rs', 'ru', 'ix')
if not is[1] then return {'none'} end
if is[1] == 'a' or is[2] ~= ARGV[3] or not is[3] or tonumber(ARGV[5]) >= tonumber(is[3]) then return {'refused'} end
redis.call('HSET', call, 's', 'a', 'o', ARGV[4])
redis.call('HDEL', call, 'oc', 'ea', 'sm', 'ru')
redis.call('ZADD', BASE .. 'active', 0, is[4])
redis.call('HINCRBY', call, 'v', 1)
changed()
end_in(id, LIVE_MS)
return {'ok', redis.call('HGETALL', call)}
