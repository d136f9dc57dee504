-- kind, key, value, id of the call, how long it is kept (ms, '' for ever), expected version ('' for any)
local kind, key, id, ms, expected = ARGV[2], ARGV[3], ARGV[5], ARGV[6], ARGV[7]
local document, index, ending = BASE .. 'doc:' .. kind .. ':' .. key, BASE .. 'docs:' .. kind, BASE .. 'docs-ending:' .. kind
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', ending, '-inf', NOW, 'LIMIT', 0, 20)) do
  redis.call('ZREM', ending, gone)
  if redis.call('EXISTS', BASE .. 'doc:' .. kind .. ':' .. gone) == 0 then redis.call('ZREM', index, gone) end
end
local is = redis.call('HMGET', document, 'n', 'c')
local version = tonumber(is[1] or 0)
if expected ~= '' and version ~= tonumber(expected) then return {'conflict', version} end
if is[2] and is[2] ~= '' and is[2] ~= id then
  redis.call('ZREM', BASE .. 'docs-of:' .. is[2], kind .. ':' .. key)
end
redis.call('HSET', document, 'j', ARGV[4], 'n', version + 1, 'c', id)
local indices = {index}
redis.call('ZADD', index, 0, key)
if id ~= '' then
  indices[2] = BASE .. 'docs-of:' .. id
  redis.call('ZADD', indices[2], 0, kind .. ':' .. key)
end
if ms == '' then
  redis.call('PERSIST', document)
  redis.call('ZREM', ending, key)
  for _, name in ipairs(indices) do redis.call('PERSIST', name) end
else
  redis.call('PEXPIRE', document, ms)
  redis.call('ZADD', ending, NOW + tonumber(ms), key)
  keep(ending, tonumber(ms) * 1.2 + 60000)
  -- An index lives as long as the longest of its documents; one that holds a single key is new.
  for _, name in ipairs(indices) do
    if redis.call('ZCARD', name) == 1 or redis.call('PTTL', name) >= 0 then keep(name, tonumber(ms) * 1.2 + 60000) end
  end
end
keep(META, META_MS)
return {'ok', version + 1}
