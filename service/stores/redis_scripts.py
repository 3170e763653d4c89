"""What the engine does in one step, in its own language: each script reads, checks and writes with nobody in between.

Every script begins alike: is this still the office that this process knows (``made``), is the switch still where the
transaction believes it is, and has the event at least as many records as this process has seen? Only then does it
read or write; so a refusal of any kind wrote nothing. All decisions come before the first write, for a script is not
rolled back when it fails, and the first write is the one that an inconsistent engine would refuse: a record's place in
the stream.

An answer is one string of lines: how it went, four lines of the office, and what was asked for. That is cheaper to read
than nested replies, and no JSON document has a raw line break.

``SELL`` and ``CANCEL`` in ``DECIDE`` are the rules of ``inventory.decide``; that they agree is tested differentially.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Script:
    """A script and the digest that the engine knows it by."""

    text: str
    sells: bool
    """Whether a lost answer leaves open what was sold or changed. A lease that nobody has heard of ends by itself."""
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha", hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest())


def script(body: str, *, writes: bool, sells: bool | None = None) -> Script:
    """A script of these parts. One that only reads says so: it runs also where the engine refuses writes."""
    return Script(f"#!lua{'' if writes else ' flags=no-writes'}\n{body}", writes if sells is None else sells)


# asked: made, mode, the event's born, count and the generation as this process saw them last.
_OFFICE = """
local asked = cjson.decode(ARGV[1])
local office = redis.call('HMGET', KEYS[1], 'made', 'epoch', 'generation', 'guard')
local function say(how, ...)
  return table.concat({how, office[1] or '', office[2] or '0', office[3] or '0', office[4] or '', ...}, '\\n')
end
if not office[1] or (asked[1] ~= '' and office[1] ~= asked[1]) then return say('replaced') end
local mode = (office[2] or '0') .. ' ' .. (office[3] or '0') .. ' ' .. (office[4] or '')
if asked[2] ~= '' and mode ~= asked[2] then return say('switched') end
"""
_EVENT = """
local event = redis.call('HMGET', KEYS[2], 'born', 'count', 'version', 'sold', 'next', 'fence',
                         'capacity', 'per_order', 'per_buyer', 'opens', 'about')
local count = tonumber(event[2] or 0)
if asked[3] ~= '' then
  local shrunk = event[1] == asked[3] and count < asked[4]
  local lost = event[1] ~= asked[3] and tonumber(office[3] or 0) <= asked[5]
  if shrunk or lost then return say('behind') end
end
if not event[1] then return say('unknown') end
local version, sold, next_ticket = tonumber(event[3]), tonumber(event[4]), tonumber(event[5])
"""
_LINES = """
local function line_of(seq)
  local found = redis.call('XRANGE', KEYS[3], seq .. '-0', seq .. '-0')
  if not found[1] then error({err = 'LASTSEAT the record ' .. seq .. ' is missing'}) end
  return found[1][2][2]
end
"""
_WRITE = """
local function write(rows, bought)
  for place, row in ipairs(rows) do
    local seq = count + place
    redis.call('XADD', KEYS[3], seq .. '-0', 'record', row[3])
    redis.call('HSET', KEYS[4], row[1], seq)
    redis.call('HSET', KEYS[5], row[2], seq)
  end
  for buyer, change in pairs(bought) do redis.call('HINCRBY', KEYS[6], buyer, change) end
  count = count + #rows
  redis.call('HSET', KEYS[2], 'version', version, 'sold', sold, 'next', next_ticket, 'count', count)
end
"""

SET_UP = script(
    """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], 'made', ARGV[1], 'format', ARGV[2], 'epoch', 0, 'generation', 0, 'guard', '')
return 1
""",
    writes=True,
)

LOOK = script(_OFFICE + "return say('ok')", writes=False)

# and: keys, orders, buyers
VIEW = script(
    _OFFICE
    + _EVENT
    + _LINES
    + """
local said = {event[1], count, version, sold, next_ticket, event[11]}
local function tell(hash, ids, full)
  for _, id in ipairs(ids) do
    local found = redis.call('HGET', hash, id)
    said[#said + 1] = found and (full and line_of(found) or found) or ''
  end
end
tell(KEYS[4], asked[6], true)
tell(KEYS[5], asked[7], true)
tell(KEYS[6], asked[8], false)
return say('ok', table.concat(said, '\\n'))
""",
    writes=False,
)

# and: born, fencing token or '', version, sold, next, rows, bought. What the view was moved on to is written as it is.
APPEND = script(
    _OFFICE
    + _EVENT
    + _WRITE
    + """
if event[1] ~= asked[6] then return say('unknown') end
if asked[7] ~= '' and event[6] ~= asked[7] then return say('fenced', event[6]) end
version, sold, next_ticket = asked[8], asked[9], asked[10]
write(asked[11], asked[12])
return say('ok', event[1], count)
""",
    writes=True,
)

_BEFORE = """
local now, commands = asked[6], asked[7]
local capacity, per_order = tonumber(event[7]), tonumber(event[8])
local per_buyer, opens = tonumber(event[9] or nil), tonumber(event[10] or nil)
local rows, by_key, by_order, bought, outcomes = {}, {}, {}, {}, {}
local function find(hash, mine, id)
  if mine[id] then return mine[id] end
  local seq = redis.call('HGET', hash, id)
  return seq and line_of(seq)
end
local function refuse(code) return '! ' .. code .. ' ' .. version .. ' ' .. capacity - sold end
local function known_buyer(buyer) return buyer and buyer ~= cjson.null and per_buyer end
local function take_down(command, buyer, given, line)
  rows[#rows + 1] = {command[2], command[4], line}
  by_key[command[2]], by_order[command[4]] = line, line
  if known_buyer(buyer) then bought[buyer] = (bought[buyer] or 0) + given end
end
"""
# A command: kind, key, request, order, quantity, buyer, and the rest of its record, which needs no decision.
SELL = """
local function sell(command)
  local quantity, buyer = command[5], command[6]
  if quantity > per_order then return refuse('over_limit') end
  if opens and now < opens then return refuse('doors_closed') end
  if known_buyer(buyer) then
    local has = tonumber(redis.call('HGET', KEYS[6], buyer) or 0) + (bought[buyer] or 0)
    if has + quantity > per_buyer then return refuse('buyer_limit') end
  end
  if quantity > capacity - sold then return refuse('sold_out') end
  local first = next_ticket
  version, sold, next_ticket = version + 1, sold + quantity, next_ticket + quantity
  local told = version .. ',"first":' .. first .. ',"remaining":' .. capacity - sold
  take_down(command, buyer, quantity, '{"version":' .. told .. ',' .. command[7])
  return '+ ' .. version .. ' ' .. first .. ' ' .. capacity - sold
end
"""
CANCEL = """
local function cancel(command)
  local line = find(KEYS[5], by_order, command[4])
  if not line then return refuse('unknown_order') end
  local order = cjson.decode(line)
  if order.kind ~= 'sold' then return refuse('not_open') end
  version, sold = version + 1, sold - order.quantity
  local buyer = order.buyer and order.buyer ~= cjson.null and cjson.encode(order.buyer) or 'null'
  local told = version .. ',"first":' .. order.first .. ',"remaining":' .. capacity - sold
  local rest = ',"quantity":' .. order.quantity .. ',"buyer":' .. buyer .. ','
  take_down(command, order.buyer, -order.quantity, '{"version":' .. told .. rest .. command[7])
  return '- ' .. version .. ' ' .. order.first .. ' ' .. capacity - sold .. ' ' .. order.quantity .. ' ' .. buyer
end
"""
_DECIDE = """
for place, command in ipairs(commands) do
  local known = find(KEYS[4], by_key, command[2])
  if known and cjson.decode(known).request ~= command[3] then outcomes[place] = refuse('key_reused')
  elseif known then outcomes[place] = '= ' .. known
  elseif command[1] == 'sell' then outcomes[place] = sell(command)
  else outcomes[place] = cancel(command) end
end
if #rows > 0 then write(rows, bought) end
return say('ok', event[1], count, event[10] or '', table.concat(outcomes, '\\n'))
"""


def decide_script(sell: str = "", cancel: str = "") -> Script:
    """Decides a list of commands in order, each on what the ones before it left, and writes what they make."""
    parts = _OFFICE + _EVENT + _LINES + _WRITE + _BEFORE + (sell or SELL) + (cancel or CANCEL) + _DECIDE
    return script(parts, writes=True)


DECIDE = decide_script()

# and: name, the event's fields
CREATE = script(
    _OFFICE
    + """
if redis.call('EXISTS', KEYS[2]) == 1 then return say('exists') end
redis.call('HSET', KEYS[2], unpack(asked[7]))
redis.call('SADD', KEYS[8], asked[6])
return say('ok')
""",
    writes=True,
)

# and: name. The generation grows with it: what another process remembers of the event is over.
DELETE = script(
    _OFFICE
    + _EVENT
    + """
redis.call('UNLINK', KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7])
redis.call('SREM', KEYS[8], asked[6])
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
