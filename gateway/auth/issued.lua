-- Keys made at run time. Whatever changes, changes in one step: record, version and audit log.
--
-- KEYS[1]  the version: goes up with every change, and is never taken away
-- KEYS[2]  the records: a hash of name → JSON
-- KEYS[3]  the audit log: a stream
-- ARGV[1]  what to do; ARGV[2] the version that the process knows: 0 for none, '' for nothing yet

local MOST_AUDITED = 10000

local version = redis.call('GET', KEYS[1]) or '0'
local does, known = ARGV[1], ARGV[2]
-- a store that has lost its memory has to be told first
local is_lost = version == '0' and known ~= '' and known ~= '0'

local function audit(action, key, request_id, detail)
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', MOST_AUDITED, '*',
    'action', action, 'key', key, 'request_id', request_id, 'detail', detail)
end

if does == 'look' then
  if is_lost then return {'lost'} end
  if version == known then return {'same'} end
  return {'all', version, redis.call('HGETALL', KEYS[2])}
end

-- what cannot be read cannot be written: fails here, before the first write
redis.call('XLEN', KEYS[3])

if does == 'change' then
  local name, before, after = ARGV[3], ARGV[4], ARGV[5]
  if is_lost then return {'lost'} end
  if (redis.call('HGET', KEYS[2], name) or '') ~= before then return {'raced'} end
  if after == '' then
    redis.call('HDEL', KEYS[2], name)
  else
    redis.call('HSET', KEYS[2], name, after)
  end
  redis.call('INCR', KEYS[1])
  audit(ARGV[6], name, ARGV[7], ARGV[8])
  return {'done'}
end

if does == 'restore' then
  if not is_lost then return {'same'} end
  for i = 3, #ARGV, 2 do redis.call('HSETNX', KEYS[2], ARGV[i], ARGV[i + 1]) end
  -- far from any other process's version: theirs may be older or newer than this one
  redis.call('SET', KEYS[1], known + 1000)
  audit('restore', '', '', '')
  return {'done'}
end
