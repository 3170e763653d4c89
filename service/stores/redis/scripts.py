"""The scripts that the engine runs. Each reads, checks and writes in one step; nothing else runs in between.

Every script begins alike: is this still the office that this process knows (``made``), is the switch still where the
transaction believes it is, and has the event at least as many records as this process has seen? Only then does it
read or write; so a refusal of any kind wrote nothing. All decisions come before the first write, for a script is not
rolled back when it fails, and the first write is the one that an inconsistent engine would refuse: a record's place in
the stream.

An answer is one string of lines: how it went, four lines of the office, and what was asked for. That is cheaper to read
than nested replies, and no JSON document has a raw line break.

All numbers of Lua are doubles. Whole ones are exact up to 2^53, and so are microseconds since 1970, until the year
2255; but Lua *writes* only 14 digits of them. So an instant comes as text and goes on as text, or is only compared.

The rules by which ``DECIDE`` decides are in ``rules``.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from service.stores.redis.rules import RULES


@dataclass(frozen=True)
class Script:
    """A script and the digest that the engine knows it by."""

    text: str
    sells: bool
    """Whether a lost answer leaves open what was sold or changed. A lease whose answer was lost ends with its time."""
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha", hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest())


def script(body: str, *, writes: bool, sells: bool | None = None) -> Script:
    """A script of these parts. One that only reads says so: it runs also where the engine refuses writes."""
    return Script(f"#!lua{'' if writes else ' flags=no-writes'}\n{body}", writes if sells is None else sells)


# The keys: 1 the office, and of the event 2 its hash, 3 records, 4 keys, 5 orders, 6 bought, 7 lease, 8 holds, 9 open;
# 10 the names of all events, and only of an event with a hall 11 the states of its seats.
#
# asked: the office's identity, mode, the event's born, count and the generation as this process saw them last.
_OFFICE = """
local asked = cjson.decode(ARGV[1])
local office = redis.call('HMGET', KEYS[1], 'id', 'epoch', 'generation', 'guard')
local function say(how, ...)
  return table.concat({how, office[1] or '', office[2] or '0', office[3] or '0', office[4] or '', ...}, '\\n')
end
if not office[1] or (asked[1] ~= '' and office[1] ~= asked[1]) then return say('replaced') end
local mode = (office[2] or '0') .. ' ' .. (office[3] or '0') .. ' ' .. (office[4] or '')
if asked[2] ~= '' and mode ~= asked[2] then return say('switched') end
"""
# An event from before holds has no field for them: none of its tickets is held. Nor has one without a limit.
_EVENT = """
local event = redis.call('HMGET', KEYS[2], 'born', 'count', 'version', 'sold', 'next', 'fence',
                         'capacity', 'per_order', 'per_buyer', 'opens', 'about', 'held',
                         'max_held', 'max_hold_s', 'hall', 'closes')
local count = tonumber(event[2] or 0)
if asked[3] ~= '' then
  local shrunk = event[1] == asked[3] and count < asked[4]
  local lost = event[1] ~= asked[3] and tonumber(office[3] or 0) <= asked[5]
  if shrunk or lost then return say('behind') end
end
if not event[1] then return say('unknown') end
local version, sold, next_ticket = tonumber(event[3]), tonumber(event[4]), tonumber(event[5])
local held = tonumber(event[12] or 0)
"""
# A hold is kept as the version and the place of the record that made it, and what became of it. The first two are also
# its name among the open ones: they are scored by their end, and those of one score are sorted by name, so by version.
_LINES = """
local function line_of(seq)
  local found = redis.call('XRANGE', KEYS[3], seq .. '-0', seq .. '-0')
  if not found[1] then error({err = 'LASTSEAT the record ' .. seq .. ' is missing'}) end
  return found[1][2][2]
end
local function look_up(hold)
  local made, seq, stands = string.match(redis.call('HGET', KEYS[8], hold) or '', '^(%d+ (%d+)) (%a+)$')
  return made, seq, stands
end
local function ended_by(now)
  local lines = redis.call('ZRANGEBYSCORE', KEYS[9], '-inf', now)
  for place, made in ipairs(lines) do lines[place] = line_of(string.match(made, '%d+$')) end
  return lines
end
"""
# A byte a seat, as ``halls`` has the states. It is made whole with the event, so one that is too short is damaged.
_SEATS = """
local function states_of(first, last)
  local states = redis.call('GETRANGE', KEYS[11], first, last)
  if #states ~= last - first + 1 then error({err = 'LASTSEAT seats up to ' .. last .. ' are missing'}) end
  return states
end
"""
# A row: key, order, the record, hold, kind, until when it is held, version, and seats if it has some. What leads from
# keys and orders to their records is put into each hash by one command for all of them, 1,000 at a time: a call may
# have 8,000 arguments.
_WRITE = """
local seat_states = {sold = '\\2', confirmed = '\\2', held = '\\1'}
local function write_hold(hold, kind, ends, row_version, seq)
  local made = string.format('%016d %d', row_version, seq)
  if kind == 'held' then
    redis.call('ZADD', KEYS[9], ends, made)
  else
    made = look_up(hold)
    if not made then return end
    redis.call('ZREM', KEYS[9], made)
  end
  redis.call('HSET', KEYS[8], hold, made .. ' ' .. kind)
end
local function put(hash, pairs)
  for first = 1, #pairs, 2000 do
    redis.call('HSET', hash, unpack(pairs, first, math.min(first + 1999, #pairs)))
  end
end
local function write(rows, bought)
  local keys, orders = {}, {}
  for place, row in ipairs(rows) do
    local seq = count + place
    redis.call('XADD', KEYS[3], seq .. '-0', 'record', row[3])
    if row[1] ~= '' then keys[#keys + 1], keys[#keys + 2] = row[1], seq end
    if row[2] ~= '' then orders[#orders + 1], orders[#orders + 2] = row[2], seq end
    if row[4] ~= '' then write_hold(row[4], row[5], row[6], row[7], seq) end
    for _, seat in ipairs(row[8] or {}) do
      redis.call('SETRANGE', KEYS[11], seat, seat_states[row[5]] or '\\0')
    end
  end
  put(KEYS[4], keys)
  put(KEYS[5], orders)
  for buyer, change in pairs(bought) do redis.call('HINCRBY', KEYS[6], buyer, change) end
  count = count + #rows
  redis.call('HSET', KEYS[2], 'version', version, 'sold', sold, 'held', held, 'next', next_ticket, 'count', count)
end
"""

# An office of format 1, from before holds, or 2, from before halls, is brought to this one in one step. The field that
# services of that format know an office by goes with it: one that still runs would sell what is held, or tickets
# without their seats, and is refused instead.
SET_UP = script(
    """
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('HSET', KEYS[1], 'id', ARGV[1], 'format', ARGV[2], 'epoch', 0, 'generation', 0, 'guard', '')
  return 'made'
end
local field = ({['1'] = 'made', ['2'] = 'identity'})[redis.call('HGET', KEYS[1], 'format') or '']
local id = field and redis.call('HGET', KEYS[1], field)
if not id then return 'found' end
redis.call('HSET', KEYS[1], 'id', id, 'format', ARGV[2])
redis.call('HDEL', KEYS[1], field)
return 'upgraded'
""",
    writes=True,
)

LOOK = script(_OFFICE + "return say('ok')", writes=False)

# and: keys, orders, holds, buyers, until when holds have ended or ''; and of an event with a hall its name, and the
# first and the last seat of each range that is wanted. These are told with those of the holds, if it is the event's.
VIEW = script(
    _OFFICE
    + _EVENT
    + _LINES
    + _SEATS
    + """
local said = {event[1], count, version, sold, held, next_ticket, event[11]}
local function tell(hash, ids, full)
  for _, id in ipairs(ids) do
    local found = redis.call('HGET', hash, id)
    said[#said + 1] = found and (full and line_of(found) or found) or ''
  end
end
tell(KEYS[4], asked[6], true)
tell(KEYS[5], asked[7], true)
local states = {}
local seated = asked[11] and asked[11] == event[15]
for _, range in ipairs(seated and asked[12] or {}) do states[#states + 1] = states_of(range[1], range[2]) end
for _, hold in ipairs(asked[8]) do
  local _, seq, stands = look_up(hold)
  local line = seq and line_of(seq)
  local made = line and cjson.decode(line) or {}
  for _, seat in ipairs(seated and made.seats or {}) do states[#states + 1] = states_of(seat, seat) end
  local buyer = made.buyer
  local has = type(buyer) == 'string' and redis.call('HGET', KEYS[6], buyer) or '0'
  said[#said + 1] = line and stands .. ' ' .. has .. ' ' .. line or ''
end
tell(KEYS[6], asked[9], false)
if seated then said[#said + 1] = table.concat(states) end
if asked[10] ~= '' then
  for _, line in ipairs(ended_by(asked[10])) do said[#said + 1] = line end
end
return say('ok', table.concat(said, '\\n'))
""",
    writes=False,
)

NEXT_EXPIRY = script(
    _OFFICE
    + _EVENT
    + """
return say('ok', event[1], count, redis.call('ZRANGE', KEYS[9], 0, 0, 'WITHSCORES')[2] or '')
""",
    writes=False,
)

# and: born, fencing token or '', version, sold, held, next, rows, bought, and the event's fields where it was amended,
# else ''. What the view was moved on to is written as it is.
_MAY_MOVE = """
if event[1] ~= asked[6] then return say('unknown') end
if asked[7] ~= '' and event[6] ~= asked[7] then return say('fenced', event[6]) end
"""
_MOVE = """
version, sold, held, next_ticket = asked[8], asked[9], asked[10], asked[11]
write(asked[12], asked[13])
if asked[14] ~= '' then
  redis.call('HDEL', KEYS[2], 'opens', 'closes')
  redis.call('HSET', KEYS[2], unpack(asked[14]))
end
"""
APPEND = script(
    _OFFICE + _EVENT + _LINES + _WRITE + _MAY_MOVE + _MOVE + "return say('ok', event[1], count)\n", writes=True
)

# asked: the office's identity, mode, and of each event what APPEND is asked, how many records it must have still, or
# null, and with a hall which of the keys is that of its seats. Each event is looked at as APPEND does, by the same text
# with its own keys and question, before the first write in any. An answer that is no ``ok`` ends with the place of the
# event that is why.
APPEND_CART = script(
    _OFFICE
    + "local function ready(KEYS, asked)\n"
    + _EVENT
    + _LINES
    + _WRITE
    + """
if asked[15] ~= cjson.null and (event[1] ~= asked[6] or count ~= asked[15]) then return say('conflict') end
"""
    + _MAY_MOVE
    + "return nil, function()"
    + _MOVE
    + """
  return event[1] .. ' ' .. count
end
end
local moves, told = {}, {}
for place, part in ipairs(asked[3]) do
  local own = {KEYS[1]}
  for each = 1, 8 do own[each + 1] = KEYS[(place - 1) * 8 + each + 1] end
  own[11] = KEYS[part[16] or 0]
  local refused, move = ready(own, part)
  if refused then return refused .. '\\n' .. place end
  moves[place] = move
end
for place, move in ipairs(moves) do told[place] = move() end
return say('ok', table.concat(told, '\\n'))
""",
    writes=True,
)

# and: now, as text, and the commands, each with the end of its record, which needs no decision; and of an event with a
# hall its name, and of each section of which the best seats are wanted its first seat and the sizes of its rows.
# Nothing is decided where the event has another hall.
_DECIDE = """
local outcomes = {}
for place, command in ipairs(commands) do outcomes[place] = decide(command) end
if #rows > 0 then write(rows, bought) end
return say('ok', event[1], count, event[10] or '', table.concat(outcomes, '\\n'))
"""


def decide_script(rules: str) -> Script:
    """Decides a list of commands in order, each on what the ones before it left, and writes what they make."""
    return script(_OFFICE + _EVENT + _LINES + _SEATS + _WRITE + rules + _DECIDE, writes=True)


DECIDE = decide_script(RULES)

# and: name, the event's fields, and how many seats its hall has, if it has one
CREATE = script(
    _OFFICE
    + """
if redis.call('EXISTS', KEYS[2]) == 1 then return say('exists') end
redis.call('HSET', KEYS[2], unpack(asked[7]))
redis.call('SADD', KEYS[10], asked[6])
if KEYS[11] then redis.call('SET', KEYS[11], string.rep('\\0', asked[8])) end
return say('ok')
""",
    writes=True,
)

# and: name, the version at which it is removed or ''.
# The generation grows with it: what another process remembers of the event is over.
DELETE = script(
    _OFFICE
    + _EVENT
    + """
if asked[7] ~= '' and asked[7] ~= version then return say('moved') end
for place = 2, 9 do redis.call('UNLINK', KEYS[place]) end
redis.call('UNLINK', KEYS[11])
redis.call('SREM', KEYS[10], asked[6])
office[3] = redis.call('HINCRBY', KEYS[1], 'generation', 1)
return say('ok')
""",
    writes=True,
)

# and: guard. A script of an older epoch came before this one or finds another mode: no drain.
BEGIN_EPOCH = script(
    _OFFICE
    + """
office[2] = redis.call('HINCRBY', KEYS[1], 'epoch', 1)
redis.call('HSET', KEYS[1], 'guard', asked[6])
office[4] = asked[6]
return say('ok')
""",
    writes=True,
)

# and: milliseconds. The next fencing token is the event's own counter: it is lost only with all sales of the event.
TAKE_FENCED = script(
    _OFFICE
    + _EVENT
    + """
if redis.call('EXISTS', KEYS[7]) == 1 then return say('taken') end
local token = redis.call('HINCRBY', KEYS[2], 'fence', 1)
redis.call('SET', KEYS[7], token, 'PX', asked[6])
return say('ok', token)
""",
    writes=True,
    sells=False,
)

# Compare and delete: who has lost the lease must not take it away from the next one.
GIVE_BACK = script(
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0",
    writes=True,
    sells=False,
)
