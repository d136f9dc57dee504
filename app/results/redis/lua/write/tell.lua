-- type, id of the call, digest of the key, body, owner
local id, once = ARGV[3], BASE .. 'once:' .. ARGV[4]
if not redis.call('SET', once, 1, 'NX', 'PX', FEED_MS) then return {'duplicate'} end
if id ~= '' then
  local things = BASE .. 'things:' .. id
  redis.call('SADD', things, 'once:' .. ARGV[4])
  keep(things, math.max(FEED_MS, DEDUPE_MS) * 1.2)
end
return {'ok', tell(ARGV[2], id, '-', ARGV[6], ARGV[5])}
