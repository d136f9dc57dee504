-- after, how many
age()
local feed = BASE .. 'feed'
local last = tonumber(redis.call('HGET', META, 'feed') or 0)
local first = last - redis.call('HLEN', feed) + 1
local from = math.max(tonumber(ARGV[2]) + 1, first)
local to = math.min(from + tonumber(ARGV[3]) - 1, last)
local found = {}
for at = from, to do
  local value = redis.call('HGET', feed, at)
  local kind, seq, id, origin, body = entry_of(value)
  if id ~= '' then
    body = redis.call('HGET', BASE .. 'told:' .. id, at)
    if not body and seq ~= '-' then
      -- The number of a record may be another one's by now, of a later call with this id; its position is not.
      local entry = redis.call('XRANGE', BASE .. 'records:' .. id, seq .. '-0', seq .. '-0')[1]
      body = entry and tonumber(entry[2][2]) == at and entry[2][4]
    end
  end
  found[#found + 1] = {at, kind, seq, id, origin, body or false}
end
return {first, last, found}
