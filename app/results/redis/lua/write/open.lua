-- id, index member, line, digest of the subject, owner, body, then field, value …
local id, member, line, subject, owner, body = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local call = BASE .. 'call:' .. id
-- The member of the index is the call's start and id.
local known = redis.call('HMGET', call, 'o', 'ix')
if known[1] then
  if known[1] == owner and owner ~= '' and known[2] == member then return {'duplicate'} end
  return {'exists'}
end
prune()
redis.call('UNLINK', BASE .. 'records:' .. id, BASE .. 'share:' .. id)
redis.call('HSET', call, 's', 'a', 'o', owner, 'ix', member, 'ln', line, 'sj', subject)
set_pairs(call, 8)
redis.call('ZADD', BASE .. 'calls', 0, member)
redis.call('ZADD', BASE .. 'line:' .. line, 0, member)
redis.call('ZADD', BASE .. 'active', 0, member)
if subject ~= '' then redis.call('SADD', BASE .. 'subject:' .. subject, id) end
redis.call('HINCRBY', call, 'v', 1)
changed()
local at = tell('call_started', id, '-', owner, body)
end_in(id, LIVE_MS)
return {'ok', at}
