-- Every live call and whose it is.
prune()
local found = {}
for _, member in ipairs(redis.call('ZRANGE', BASE .. 'active', 0, -1)) do
  local id = string.sub(member, 17)
  local is = redis.call('HMGET', BASE .. 'call:' .. id, 's', 'o')
  if is[1] == 'a' then
    found[#found + 1] = id
    found[#found + 1] = is[2]
  end
end
return found
