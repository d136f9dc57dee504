-- id, owner, how long it is kept (ms), body, then field, value …
local id, owner, ms, body = ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local call = BASE .. 'call:' .. id
local is = redis.call('HMGET', call, 's', 'ix')
if not is[1] then return {'none'} end
if is[1] == 'e' then return {'duplicate'} end
redis.call('HSET', call, 's', 'e')
set_pairs(call, 6)
redis.call('ZREM', BASE .. 'active', is[2])
redis.call('HINCRBY', call, 'v', 1)
changed()
local at = tell('call_ended', id, '-', owner, body)
end_in(id, ms)
return {'ok', at}
