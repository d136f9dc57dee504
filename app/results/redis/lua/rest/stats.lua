-- since, until (bounds of scores), how many
local found = {}
for _, start in ipairs(redis.call('ZRANGEBYSCORE', BASE .. 'stats', ARGV[2], ARGV[3], 'LIMIT', 0, ARGV[4])) do
  local sums = redis.call('HGETALL', BASE .. 'stats:' .. start)
  if #sums == 0 then redis.call('ZREM', BASE .. 'stats', start) end
  for i = 2, #sums, 2 do
    local texts = {struct.unpack('>ddddddd', sums[i])}
    for at = 1, 7 do texts[at] = string.format('%.0f', texts[at]) end
    sums[i] = table.concat(texts, ' ', 1, 7)
  end
  found[#found + 1] = {start, sums}
end
return found
