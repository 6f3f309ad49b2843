"""The Lua scripts of the Redis journal: each one is a single atomic step on one run.

A run is one hash, so that it expires, is evicted or is flushed as a whole. Its fields are those of
the run's record, `row:<sequence>` for each row, `full` (the sequences of full rows, each before a
comma), `manifest` (the key of its version's manifest, kept alive by heartbeats) and `nonce` (the
name of the newest write). Times are whole microseconds by the server's clock. A client that
repeats a call because the answer got lost sends the same nonce again and gets the same answer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha1


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua text and the name by which the server remembers it."""

    text: str
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        name = sha1(self.text.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "digest", name)


_PRELUDE = """
local run = KEYS[1]
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local function whole(number) return string.format('%.0f', number) end
local function keep(key, seconds_to_live)
  if seconds_to_live > 0 then
    redis.call('PEXPIRE', key, whole(seconds_to_live * 1000))
  else
    redis.call('PERSIST', key)
  end
end
local function get(...) return redis.call('HMGET', run, ...) end
"""

OPEN = Script(
    _PRELUDE
    + """
local mode, pipeline, version, owner, nonce = unpack(ARGV, 1, 5)
local lease, alive = tonumber(ARGV[6]), tonumber(ARGV[7])
local manifest, step, parent, parent_sequence = unpack(ARGV, 8, 11)
local attempt, head, ip, start = unpack(ARGV, 12, 15)
local known = redis.call('EXISTS', run) == 1
local old = get('pipeline', 'version', 'status', 'owner', 'lease', 'token', 'attempt', 'head',
                'takeovers', 'nonce', 'previous')
if known and old[10] == nonce then return {'claimed', old[6], old[7], old[8], old[11]} end
local busy = known and old[4] ~= '' and tonumber(old[5]) > now
local foreign = known and old[1] ~= '' and old[1] ~= pipeline
local strange = old[2] ~= version and old[2] ~= ARGV[16]
local changed = ARGV[17] ~= '' and (old[6] ~= ARGV[17] or old[3] ~= ARGV[18])
local unfit = mode == 'take' and (strange or changed) or mode == 'create' and known
if busy or foreign or unfit then
  return {'refused', busy and 1 or 0, get(unpack(ARGV, 19))}
end
local token, takeovers, previous = now, 0, 'queued'
if known and tonumber(old[6]) >= now then token = tonumber(old[6]) + 1 end
if mode == 'take' then
  attempt, head, takeovers, previous = old[7], old[8], tonumber(old[9]), old[3]
  if previous == 'running' then takeovers = takeovers + 1 end
else
  redis.call('DEL', run)
  redis.call('HSET', run, 'version', version, 'attempt', attempt, 'head', head, 'ip', ip,
             'step', step, 'parent', parent, 'parent_sequence', parent_sequence, 'error', '',
             'created', whole(now), 'full', head .. ',', 'row:' .. head, start)
end
redis.call('HSET', run, 'pipeline', pipeline, 'status', 'running', 'owner', owner,
           'lease', whole(now + lease * 1000000), 'token', whole(token), 'takeovers', takeovers,
           'updated', whole(now), 'finished', '', 'nonce', nonce, 'previous', previous,
           'manifest', KEYS[2])
redis.call('SET', KEYS[2], manifest)
keep(KEYS[2], alive)
keep(run, alive)
return {'claimed', whole(token), attempt, head, previous}
"""
)

COMMIT = Script(
    _PRELUDE
    + """
local token, owner, nonce, status, ended = unpack(ARGV, 1, 5)
local lease, alive = tonumber(ARGV[6]), tonumber(ARGV[7])
local old = get('token', 'owner', 'head', 'nonce', 'manifest')
if not old[1] then return {'vanished'} end
if old[1] ~= token then return {'lost'} end
if old[4] == nonce then return {'done'} end
if old[2] ~= owner then return {'lost'} end
local head, first = tonumber(old[3]), tonumber(ARGV[12])
if #ARGV > 14 and first ~= head + 1 then return {'order', old[3]} end
for index = 16, #ARGV do
  redis.call('HSET', run, 'row:' .. whole(first + index - 15), ARGV[index])
end
local newest = whole(head + #ARGV - 14)
local expiry = whole(now + lease * 1000000)
if status ~= 'running' then owner, expiry = '', '' end
local changes = {'status', status, 'owner', owner, 'lease', expiry, 'head', newest,
                 'attempt', ARGV[8], 'ip', ARGV[9], 'step', ARGV[10], 'error', ARGV[11],
                 'updated', whole(now), 'finished', ended == '1' and whole(now) or '',
                 'nonce', nonce}
if #ARGV > 14 then
  changes[#changes + 1] = 'row:' .. ARGV[12]
  changes[#changes + 1] = ARGV[15]
  changes[#changes + 1] = 'version'
  changes[#changes + 1] = ARGV[14]
  changes[#changes + 1] = 'takeovers'
  changes[#changes + 1] = '0'
end
if ARGV[13] ~= '' then
  changes[#changes + 1] = 'full'
  changes[#changes + 1] = (redis.call('HGET', run, 'full') or '') .. ARGV[13]
end
redis.call('HSET', run, unpack(changes))
keep(run, alive)
if old[5] and status ~= 'running' then keep(old[5], alive) end
return {'done'}
"""
)

RENEW = Script(
    _PRELUDE
    + """
local old = get('token', 'owner', 'manifest')
if old[1] ~= ARGV[1] or old[2] ~= ARGV[2] then return 0 end
redis.call('HSET', run, 'lease', whole(now + tonumber(ARGV[3]) * 1000000))
keep(run, tonumber(ARGV[4]))
if old[3] then keep(old[3], tonumber(ARGV[4])) end
return 1
"""
)

SAVE = Script(
    _PRELUDE
    + """
local alive, token, head = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local old = get('token', 'head', 'owner', 'lease', 'full', 'created')
if old[3] and old[3] ~= '' and tonumber(old[4]) > now then return {'busy'} end
if (old[1] or '') ~= token or (old[2] or '') ~= head then return {'moved'} end
local sequence = ARGV[5]
redis.call('HSET', run, 'token', old[1] or '0', 'owner', '', 'lease', '', 'nonce', '',
           'head', sequence, 'row:' .. sequence, ARGV[6], 'full', (old[5] or '') .. sequence .. ',',
           'created', old[6] or whole(now), 'updated', whole(now),
           'finished', ARGV[4] == '1' and whole(now) or '', unpack(ARGV, 7))
keep(run, alive)
return {'done'}
"""
)

READ = Script(
    """
local run = KEYS[1]
local first, last = ARGV[1], tonumber(ARGV[2])
local head = tonumber(redis.call('HGET', run, 'head'))
if not head then return {} end
if first == 'full' then
  first = string.match(redis.call('HGET', run, 'full') or '', '(%d+),$') or '0'
end
first = tonumber(first)
if last == nil or last > head then last = head end
local rows = {}
for sequence = first, last do
  rows[#rows + 1] = redis.call('HGET', run, 'row:' .. string.format('%.0f', sequence))
end
return {tostring(first), redis.call('HMGET', run, unpack(ARGV, 3)), rows}
"""
)
