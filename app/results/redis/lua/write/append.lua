-- id, seq, record, owner, then for the statistics: start of the bucket, end of the name of the field, sums
local id, seq, record, owner = ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local call, records = BASE .. 'call:' .. id, BASE .. 'records:' .. id
local is = redis.call('HMGET', call, 's', 'q', 'st')
if not is[1] then return {'none'} end
local last = tonumber(is[2] or 0)
if seq <= last then return {'duplicate'} end

local at = tell('utterance', id, ARGV[3], owner, nil)
redis.call('XADD', records, ARGV[3] .. '-0', 'p', at, 'r', record)
local lost = seq - last - 1
local held = redis.call('XLEN', records)
while held > MAX_RECORDS do
  -- The oldest goes; the feed may still hold it, so its body moves there.
  local oldest = redis.call('XRANGE', records, '-', '+', 'COUNT', 1)[1]
  local position = oldest[2][2]
  if redis.call('HEXISTS', BASE .. 'feed', position) == 1 then
    redis.call('HSET', BASE .. 'told:' .. id, position, oldest[2][4])
  end
  redis.call('XDEL', records, oldest[1])
  lost, held = lost + 1, held - 1
end
redis.call('HSET', call, 'q', ARGV[3])
if lost > 0 then redis.call('HINCRBY', call, 'd', lost) end
redis.call('HINCRBY', call, 'v', 1)
changed()

local left = redis.call('PTTL', call)
if held == 1 then redis.call('PEXPIRE', records, left) end
if ARGV[6] ~= '' then
  local field = is[3] .. ARGV[7]
  local stats, share = BASE .. 'stats:' .. ARGV[6], BASE .. 'share:' .. id
  if sum(stats, field, ARGV[8], 1) and redis.call('HLEN', stats) == 1 then
    redis.call('PEXPIRE', stats, STATS_MS)
    for _, start in ipairs(redis.call('ZRANGE', BASE .. 'stats', 0, 1)) do
      if redis.call('EXISTS', BASE .. 'stats:' .. start) == 0 then redis.call('ZREM', BASE .. 'stats', start) end
    end
    redis.call('ZADD', BASE .. 'stats', ARGV[6], ARGV[6])
    keep(BASE .. 'stats', STATS_MS * 1.2)
  end
  if sum(share, ARGV[6] .. ' ' .. field, ARGV[8], 1) and redis.call('PTTL', share) < 0 then
    redis.call('PEXPIRE', share, left)
  end
end
if is[1] == 'a' and left < LIVE_MS * 0.9 then end_in(id, LIVE_MS) end
return {'ok', at}
