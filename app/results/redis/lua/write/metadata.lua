-- id, then field, value …
local call = BASE .. 'call:' .. ARGV[2]
local state = redis.call('HGET', call, 's')
if not state then return {'none'} end
set_pairs(call, 3)
redis.call('HINCRBY', call, 'v', 1)
changed()
if state == 'a' then touch(ARGV[2]) end
return {'ok'}
