-- kind, lowest key ('(' before, or '-'), how many, id of the call ('=' before, or '' for all)
local kind, low, want, of = ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local index, prefix, high = BASE .. 'docs:' .. kind, '', '+'
if of ~= '' then
  index, prefix, high = BASE .. 'docs-of:' .. string.sub(of, 2), kind .. ':', '(' .. kind .. ';'
  low = low == '-' and '[' .. prefix or '(' .. prefix .. string.sub(low, 2)
end
local found, more, look, seen = {}, 1, 5000, ''
while more == 1 and #found < want and look > 0 do
  local step = want - #found
  local members = redis.call('ZRANGEBYLEX', index, low, high, 'LIMIT', 0, step)
  if #members < step then more = 0 end
  for _, member in ipairs(members) do
    local key = string.sub(member, #prefix + 1)
    local is = redis.call('HMGET', BASE .. 'doc:' .. kind .. ':' .. key, 'j', 'n', 'c')
    low, look, seen = '(' .. member, look - 1, key
    if is[1] then
      found[#found + 1] = {key, is[1], is[2], is[3]}
    else
      redis.call('ZREM', index, member)
    end
  end
end
return {more, seen, found}
