-- id, from seq, how many
local records = BASE .. 'records:' .. ARGV[2]
local is = redis.call('HMGET', BASE .. 'call:' .. ARGV[2], 's', 'q')
if not is[1] then return {'none'} end
local last = tonumber(is[2] or 0)
local oldest = redis.call('XRANGE', records, '-', '+', 'COUNT', 1)[1]
local first = oldest and tonumber(string.match(oldest[1], '^%d+')) or last + 1
local found = {}
if tonumber(ARGV[4]) > 0 then
  for _, entry in ipairs(redis.call('XRANGE', records, ARGV[3] .. '-0', '+', 'COUNT', ARGV[4])) do
    found[#found + 1] = entry[2][4]
  end
end
return {'ok', first, last, found}
