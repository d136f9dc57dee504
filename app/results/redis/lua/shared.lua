-- What every operation starts with. KEYS[1] is the tenant's `meta`; every other key is named with the same hash tag.
-- Before this come the constants: LIVE_MS FEED_MS FEED_ENTRIES STATS_MS META_MS DEDUPE_MS MAX_RECORDS.
local META = KEYS[1]
local BASE = string.sub(META, 1, -5)
local TIME = redis.call('TIME')
local NOW = tonumber(TIME[1]) * 1000 + math.floor(tonumber(TIME[2]) / 1000)

-- Lets a key live for at least nine tenths of `ms` from now; a key without an end gets one.
local function keep(key, ms)
  if redis.call('PTTL', key) < ms * 0.9 then redis.call('PEXPIRE', key, math.ceil(ms)) end
end

-- HSET of the pairs ARGV[from], ARGV[from + 1] …, in pieces that fit Lua's stack.
local function set_pairs(key, from)
  for begin = from, #ARGV, 500 do
    redis.call('HSET', key, unpack(ARGV, begin, math.min(begin + 499, #ARGV)))
  end
end

-- One more change of the tenant's calls. Begins at the time of day, so that it grows even after a loss of data.
local function changed()
  if redis.call('HINCRBY', META, 'version', 1) == 1 then
    redis.call('HINCRBY', META, 'version', TIME[1] .. string.format('%06d', tonumber(TIME[2])))
  end
end

-- What the indices need to know of a call once its hash is gone.
local function mark_of(call, id)
  local is = redis.call('HMGET', call, 'ix', 'ln', 'sj')
  return cjson.encode({is[1], id, is[2], is[3]}), is
end

-- Everything of a call goes in `ms`.
local function end_in(id, ms)
  local call = BASE .. 'call:' .. id
  local mark, is = mark_of(call, id)
  for _, kind in ipairs({'call:', 'records:', 'told:', 'share:'}) do
    redis.call('PEXPIREAT', BASE .. kind .. id, NOW + ms)
  end
  redis.call('ZADD', BASE .. 'ending', NOW + ms, mark)
  local longer = ms * 1.2 + 60000
  keep(BASE .. 'ending', longer)
  keep(BASE .. 'calls', longer)
  keep(BASE .. 'line:' .. is[2], longer)
  keep(BASE .. 'active', longer)
  if is[3] ~= '' then keep(BASE .. 'subject:' .. is[3], longer) end
  keep(META, math.max(META_MS, longer))
end

-- A live call was written to: its end moves away.
local function touch(id)
  if redis.call('PTTL', BASE .. 'call:' .. id) < LIVE_MS * 0.9 then end_in(id, LIVE_MS) end
end

-- Takes a call that is gone out of the indices, but for places that a later call with the same id has taken.
local function unindex(mark, now_is)
  local was = cjson.decode(mark)
  if now_is[1] ~= was[1] then
    redis.call('ZREM', BASE .. 'calls', was[1])
    redis.call('ZREM', BASE .. 'active', was[1])
  end
  if now_is[1] ~= was[1] or now_is[2] ~= was[3] then redis.call('ZREM', BASE .. 'line:' .. was[3], was[1]) end
  if was[4] ~= '' and now_is[3] ~= was[4] then redis.call('SREM', BASE .. 'subject:' .. was[4], was[2]) end
  redis.call('ZREM', BASE .. 'ending', mark)
end

-- Takes calls that have expired out of the indices, a bounded number at a time.
local function prune()
  local ended = '(' .. string.format('%.0f', NOW)
  for _, mark in ipairs(redis.call('ZRANGEBYSCORE', BASE .. 'ending', '-inf', ended, 'LIMIT', 0, 100)) do
    local id = cjson.decode(mark)[2]
    local now_mark, now_is = mark_of(BASE .. 'call:' .. id, id)
    if now_mark ~= mark then
      unindex(mark, now_is)
      changed()
    end
  end
end

-- An entry of the feed as it lies in the hash, taken apart: type, seq, call, origin, body (where it lies here).
local function entry_of(value)
  local kind, seq, n, m, rest = string.match(value, '^(%S+) (%S+) (%d+) (%d+) (.*)$')
  n, m = tonumber(n), tonumber(m)
  return kind, seq, string.sub(rest, 1, n), string.sub(rest, n + 1, n + m), string.sub(rest, n + m + 1)
end

-- Forgets entries of the feed from position `from` to `to`.
local function drop(from, to)
  for at = from, to do
    local value = redis.call('HGET', BASE .. 'feed', at)
    if value then
      local _, _, call = entry_of(value)
      redis.call('HDEL', BASE .. 'feed', at)
      if call ~= '' then redis.call('HDEL', BASE .. 'told:' .. call, at) end
    end
  end
end

-- Forgets entries of the feed that are too old, a bounded number at a time.
local function age()
  local times = BASE .. 'feed-times'
  local old = redis.call('ZREVRANGEBYSCORE', times, NOW - FEED_MS, '-inf', 'LIMIT', 0, 1)[1]
  if not old then return end
  local last = tonumber(redis.call('HGET', META, 'feed') or 0)
  local first = last - redis.call('HLEN', BASE .. 'feed') + 1
  local to = math.min(tonumber(old) - 1, first + 499)
  drop(first, to)
  if to == tonumber(old) - 1 then redis.call('ZREMRANGEBYSCORE', times, '-inf', NOW - FEED_MS) end
end

-- Adds to the feed and returns the position. A body lies with its call, so that it goes when the call goes.
local function tell(kind, id, seq, origin, body)
  local feed = BASE .. 'feed'
  local at = redis.call('HINCRBY', META, 'feed', 1)
  local here = ''
  if body and id == '' then
    here = body
  elseif body then
    local told = BASE .. 'told:' .. id
    redis.call('HSET', told, at, body)
    if redis.call('PTTL', told) < 0 then
      local left = redis.call('PTTL', BASE .. 'call:' .. id)
      redis.call('PEXPIRE', told, left > 0 and left or FEED_MS)
    end
  end
  redis.call('HSET', feed, at, kind .. ' ' .. seq .. ' ' .. #id .. ' ' .. #origin .. ' ' .. id .. origin .. here)
  local held = redis.call('HLEN', feed)
  if held > FEED_ENTRIES then drop(at - held + 1, at - FEED_ENTRIES) end
  keep(feed, FEED_MS * 1.1)
  if NOW - tonumber(redis.call('HGET', META, 'noted') or 0) >= math.min(60000, FEED_MS / 100) then
    redis.call('HSET', META, 'noted', NOW)
    redis.call('ZADD', BASE .. 'feed-times', NOW, at)
    keep(BASE .. 'feed-times', FEED_MS * 2)
    keep(META, META_MS)
    age()
  end
  return at
end

-- Adds seven sums, packed as doubles that are whole numbers, to a field, or takes them away (sign -1); a field whose
-- first sum reaches 0 goes. Returns true where the field is new.
local function sum(key, field, added, sign)
  local n, a, b, c, d, e, f = struct.unpack('>ddddddd', added)
  local have = redis.call('HGET', key, field)
  local m, g, h, i, j, k, l = 0, 0, 0, 0, 0, 0, 0
  if have then m, g, h, i, j, k, l = struct.unpack('>ddddddd', have) end
  m = m + sign * n
  if m <= 0 then
    redis.call('HDEL', key, field)
    return false
  end
  local packed = struct.pack(
    '>ddddddd', m, g + sign * a, h + sign * b, i + sign * c, j + sign * d, k + sign * e, l + sign * f
  )
  return redis.call('HSET', key, field, packed) == 1
end

-- A document and its places in the indices go.
local function forget_document(kind, key)
  local document = BASE .. 'doc:' .. kind .. ':' .. key
  local call = redis.call('HGET', document, 'c')
  redis.call('ZREM', BASE .. 'docs:' .. kind, key)
  redis.call('ZREM', BASE .. 'docs-ending:' .. kind, key)
  if call and call ~= '' then redis.call('ZREM', BASE .. 'docs-of:' .. call, kind .. ':' .. key) end
  return redis.call('UNLINK', document) == 1
end
