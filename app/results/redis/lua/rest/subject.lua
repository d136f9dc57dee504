-- digest of the subject
local subject, found = BASE .. 'subject:' .. ARGV[2], {}
for _, id in ipairs(redis.call('SMEMBERS', subject)) do
  if redis.call('HGET', BASE .. 'call:' .. id, 'sj') == ARGV[2] then
    found[#found + 1] = id
  else
    redis.call('SREM', subject, id)
  end
end
return found
