-- Everything that one process asks of the limits at one time: decided here, in one step.
--
-- KEYS[1]  the limits' clock: a hash of wall (us), now (us), birth (an id), count (of batches)
-- KEYS[2]  this process: a hash of epoch, packet, and a field for every open hold
-- KEYS[3]  the processes that live: a sorted set of ends of leases
-- KEYS[4…] buckets (the moment at which they are full), slots (sorted sets: hold → end of its
--          lease), books (hashes of sums); kinds[i] says which KEYS[i + 3] is
-- ARGV[1]  the batch, in MessagePack; written by redis_batch.py, which names its parts
-- ARGV[2]  a fresh id, for a store that has none yet
--
-- All reads that can fail come before the first write, so that nothing is done by halves. What lies
-- under our keys and is not ours makes room.

local EPOCH_US = 1760000000000000  -- October 2025: smaller numbers keep more of their fraction
local STEP_US = 1000000            -- clocks that differ by more have been set
local SLACK_MS = 3600000           -- kept longer than needed, should the clock be set forward
local PROCESS_MS = 86400000        -- how long settling is still understood after a silence
local BOOKS_MS = 34560000000       -- 400 days
local ROUNDING_US = 0.5
local UNPACKED = 4000              -- Lua's stack has no room for 8000

local function wall_us()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

local function exact(number)
  return string.format('%.17g', number)
end

local batch = cmsgpack.unpack(ARGV[1])
local epoch, birth_known, expected_us, lease_us, kinds, ops =
  batch[1], batch[2], batch[3], batch[4], batch[5], batch[6]
local is_heartbeat, is_telling, count_known = batch[7], batch[8], batch[9]

-- the read part

local function read(command, key, ...)
  local reply = redis.pcall(command, key, ...)
  if type(reply) ~= 'table' or not reply.err then return reply end
  if string.find(reply.err, 'WRONGTYPE', 1, true) then redis.call('DEL', key) end
  return redis.call(command, key, ...)
end

local clock = read('HMGET', KEYS[1], 'wall', 'now', 'birth', 'count')
local process = read('HMGET', KEYS[2], 'epoch', 'packet')
read('ZCARD', KEYS[3])
local wall = wall_us()
local now, birth, count = wall - EPOCH_US, clock[3], tonumber(clock[4] or 0)
if birth then
  local last = tonumber(clock[2])
  now = last + (wall - tonumber(clock[1]))
  -- a process knows from its steady clock what time it should be at least
  if birth == birth_known and expected_us and math.abs(now - expected_us) > STEP_US then
    now = expected_us
  end
  if now < last then now = last end
end
if not birth or (birth == birth_known and count < count_known) then
  birth = ARGV[2]  -- without memory, or with an older one: from a disk, or from a replica
end

local function keep_clock()
  redis.call('HSET', KEYS[1], 'wall', exact(wall), 'now', exact(now), 'birth', birth,
    'count', count + 1)
end

if process[1] and tonumber(process[1]) > epoch then
  return redis.error_reply('STALE this batch was given up')
end
if birth_known ~= '' and not is_telling and (birth ~= birth_known or not process[1]) then
  -- this is another store than the one that the process knows, or one that does not know the
  -- process any more: it must first say what it knows
  keep_clock()
  return cmsgpack.pack({exact(now), birth})
end

local full_at, slots = {}, {}
local rate_keys, rate_index = {}, {}
for i, kind in ipairs(kinds) do
  if #kind == 2 then
    rate_keys[#rate_keys + 1] = KEYS[i + 3]
    rate_index[#rate_index + 1] = i
  elseif #kind == 1 then
    slots[i] = read('ZCOUNT', KEYS[i + 3], '(' .. exact(now), '+inf')
  else
    read('HLEN', KEYS[i + 3])
  end
end
for first = 1, #rate_keys, UNPACKED do
  local last = math.min(first + UNPACKED - 1, #rate_keys)
  for n, value in ipairs(redis.call('MGET', unpack(rate_keys, first, last))) do
    local i = rate_index[first + n - 1]
    -- never further away than the deepest debt, whatever happened to the clock
    full_at[i] = math.min(value and tonumber(value) or 0, now + 2 * kinds[i][2])
  end
end

-- deciding

local changed, leased, dropped = {}, {}, {}

local function lack_us(i)
  return math.max(0, full_at[i] - now)
end

local function add(i, units)
  local interval, capacity = kinds[i][1], kinds[i][2]
  local lack = lack_us(i)
  local after = lack + units * interval
  if units > 0 then after = math.max(lack, math.min(after, 2 * capacity)) end
  full_at[i] = now + math.max(0, after)
  changed[i] = true
end

local function drop_ended(i)  -- what is not counted must not be given back, or leased again
  if not dropped[i] then redis.call('ZREMRANGEBYSCORE', KEYS[i + 3], '-inf', exact(now)) end
  dropped[i] = true
end

local function lease(i, hold)
  drop_ended(i)
  slots[i] = slots[i]
    + redis.call('ZADD', KEYS[i + 3], exact(now + lease_us), KEYS[2] .. '/' .. hold)
  leased[i] = true
end

local function take(op)
  local refused, wait = 0, 0
  for n = 3, #op, 2 do
    local i, cost = op[n], op[n + 1]
    if slots[i] then
      if refused == 0 and slots[i] >= kinds[i][1] then refused = (n - 1) / 2 end
    else
      local over = lack_us(i) + cost * kinds[i][1] - kinds[i][2]
      if over > ROUNDING_US and over > wait then refused, wait = (n - 1) / 2, over end
    end
  end
  local result = {refused, wait}
  for n = 3, #op, 2 do
    local i = op[n]
    if refused == 0 then
      if slots[i] then
        lease(i, op[2])
      elseif op[n + 1] ~= 0 then
        add(i, op[n + 1])
      end
    end
    result[#result + 1] = slots[i] or lack_us(i)
  end
  if refused == 0 then redis.call('HSET', KEYS[2], op[2], 1) end
  return result
end

local function settle(op)
  if redis.call('HDEL', KEYS[2], op[2]) == 0 then return 0 end
  for n = 3, #op, 2 do
    local i = op[n]
    if slots[i] then
      drop_ended(i)
      slots[i] = slots[i] - redis.call('ZREM', KEYS[i + 3], KEYS[2] .. '/' .. op[2])
    elseif op[n + 1] ~= 0 then
      add(i, op[n + 1])
    end
  end
  return 1
end

local function look(op)
  local result = {}
  for n = 2, #op do
    local i = op[n]
    result[#result + 1] = slots[i] or lack_us(i)
  end
  return result
end

local function drop_others(op)  -- slots of this process but for those of these holds
  local mine, lives = KEYS[2] .. '/', {}
  for n = 3, #op do lives[mine .. op[n]] = true end
  for _, member in ipairs(redis.call('ZRANGE', KEYS[op[2] + 3], 0, -1)) do
    if string.sub(member, 1, #mine) == mine and not lives[member] then
      redis.call('ZREM', KEYS[op[2] + 3], member)
    end
  end
end

local function keep(op)  -- holds that live: their slots, and that they are open
  if is_telling and op[2] ~= 0 then drop_others(op) end
  for n = 3, #op do
    if op[2] == 0 then
      redis.call('HSET', KEYS[2], op[n], 1)
    else
      lease(op[2], op[n])
    end
  end
  return 1
end

local function at_least(op)
  for n = 2, #op, 2 do
    full_at[op[n]] = math.max(full_at[op[n]], now + op[n + 1])
    changed[op[n]] = true
  end
  return 1
end

local function packet(op)  -- what is added up elsewhere, each packet once
  if process[2] and tonumber(process[2]) >= op[2] then return 0 end
  redis.call('HSET', KEYS[2], 'packet', op[2])
  for n = 1, #op[3], 2 do add(op[3][n], op[3][n + 1]) end
  for _, sum in ipairs(op[4]) do
    redis.call('HINCRBY', KEYS[sum[1] + 3], sum[2], sum[3])
    redis.call('PEXPIRE', KEYS[sum[1] + 3], BOOKS_MS)
  end
  return 1
end

local does = {take, settle, look, keep, at_least, packet}
local results = {}
for n, op in ipairs(ops) do results[n] = does[op[1]](op) end

-- the write part

for i in pairs(changed) do
  local lack = lack_us(i)
  if lack > 0 then
    redis.call('SET', KEYS[i + 3], exact(full_at[i]), 'PX', math.ceil(lack / 1000) + SLACK_MS)
  else
    redis.call('DEL', KEYS[i + 3])
  end
end
for i in pairs(leased) do
  redis.call('PEXPIRE', KEYS[i + 3], math.ceil(lease_us / 1000) + SLACK_MS)
end
if is_heartbeat or tonumber(process[1] or -1) ~= epoch then
  redis.call('HSET', KEYS[2], 'epoch', epoch)
  redis.call('PEXPIRE', KEYS[2], PROCESS_MS)
end
local alive = 0
if is_heartbeat then
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', exact(now))
  redis.call('ZADD', KEYS[3], exact(now + lease_us), KEYS[2])
  redis.call('PEXPIRE', KEYS[3], math.ceil(lease_us / 1000) + SLACK_MS)
  alive = redis.call('ZCARD', KEYS[3])
end
keep_clock()
return cmsgpack.pack({exact(now), birth, results, count + 1, alive})
