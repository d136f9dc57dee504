-- queue, key, payload, due (epoch seconds), id of the call, how long it is kept (ms)
local queue, key, id, ms = ARGV[2], ARGV[3], ARGV[6], tonumber(ARGV[7])
local job, did = 'job:' .. queue .. ':' .. key, 'did:' .. queue .. ':' .. key
if redis.call('EXISTS', BASE .. job) == 1 then return {'duplicate'} end
if not redis.call('SET', BASE .. did, 1, 'NX', 'PX', DEDUPE_MS) then return {'duplicate'} end
redis.call('HSET', BASE .. job, 'p', ARGV[4], 'n', 0, 'c', id)
redis.call('PEXPIRE', BASE .. job, ms)
redis.call('ZADD', BASE .. 'queue:' .. queue, ARGV[5], key)
keep(BASE .. 'queue:' .. queue, ms * 1.2)
if id ~= '' then
  local things = BASE .. 'things:' .. id
  redis.call('SADD', things, 'queue:' .. queue .. ' ' .. key)
  keep(things, math.max(ms, DEDUPE_MS) * 1.2)
end
keep(META, META_MS)
return {'ok'}
