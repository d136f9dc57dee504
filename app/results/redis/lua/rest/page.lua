-- index, highest and lowest member, how many, how many to look at, then wanted state, line, team, outcome ('=' before)
local index, high, low, want, look = BASE .. ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local wanted = {ARGV[7], ARGV[8], ARGV[9], ARGV[10]}
local picky = table.concat(wanted) ~= ''
prune()
local found, seen, more = {}, '', 1
while more == 1 and #found < want and look > 0 do
  local step = math.min(look, picky and 100 or want - #found)
  local members = redis.call('ZREVRANGEBYLEX', index, high, low, 'LIMIT', 0, step)
  if #members < step then more = 0 end
  for _, member in ipairs(members) do
    if #found == want then
      more = 1
      break
    end
    seen, high, look = member, '(' .. member, look - 1
    local call = BASE .. 'call:' .. string.sub(member, 17)
    local is = redis.call('HMGET', call, 'ix', 's', 'ln', 'tm', 'oc')
    local fits = is[1] == member
    if not fits then
      redis.call('ZREM', index, member)
    end
    for i = 1, 4 do
      if wanted[i] ~= '' and wanted[i] ~= '=' .. (is[i + 1] or '') then fits = false end
      if wanted[i] == '=' and not is[i + 1] then fits = false end
    end
    if fits then found[#found + 1] = redis.call('HGETALL', call) end
  end
end
return {more, seen, found}
