-- id, owner
local id, owner = ARGV[2], ARGV[3]
local call = BASE .. 'call:' .. id
local state = redis.call('HGET', call, 's')
if state == 'a' then return {'active'} end

for _, member in ipairs(redis.call('ZRANGE', BASE .. 'docs-of:' .. id, 0, -1)) do
  local kind, key = string.match(member, '^([^:]*):(.*)$')
  forget_document(kind, key)
end
for _, thing in ipairs(redis.call('SMEMBERS', BASE .. 'things:' .. id)) do
  local queue, key = string.match(thing, '^queue:(%S+) (.*)$')
  if queue then
    redis.call('ZREM', BASE .. 'queue:' .. queue, key)
    redis.call('UNLINK', BASE .. 'job:' .. queue .. ':' .. key, BASE .. 'did:' .. queue .. ':' .. key)
  else
    redis.call('UNLINK', BASE .. thing)
  end
end
redis.call('UNLINK', BASE .. 'docs-of:' .. id, BASE .. 'things:' .. id)
if not state and redis.call('EXISTS', BASE .. 'told:' .. id) == 0 then return {'duplicate'} end

local shares = redis.call('HGETALL', BASE .. 'share:' .. id)
for i = 1, #shares, 2 do
  local start, field = string.match(shares[i], '^(%S+) (.*)$')
  if redis.call('HEXISTS', BASE .. 'stats:' .. start, field) == 1 then
    sum(BASE .. 'stats:' .. start, field, shares[i + 1], -1)
  end
end
if state then
  local mark = mark_of(call, id)
  redis.call('UNLINK', call)
  unindex(mark, {})
end
redis.call('UNLINK', BASE .. 'records:' .. id, BASE .. 'told:' .. id, BASE .. 'share:' .. id)
changed()
return {'ok', tell('call_erased', id, '-', owner, nil)}
