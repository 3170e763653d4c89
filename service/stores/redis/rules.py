"""The rules of ``inventory.decide`` in the engine's language: commands in order, and what each of them leaves.

Part of ``scripts.DECIDE``, which has read the event before and writes afterwards what was put down here: so no
decision is in the middle of a write. A command brings the end of its record as text, which is not looked at; what a
record says before that (version, first ticket, what remains, …) is known only here. What never changes of a hall comes
with the command too: the indices of the seats that it names, or the rows in which it wants the best.

That this and the rules agree is tested differentially, with every condition of it left out or shifted by one.
"""

from __future__ import annotations

RULES = """
if (event[15] or '') ~= (asked[8] or '') then return say('hall') end
local now, commands = asked[6], asked[7]
local now_us, capacity, per_order = tonumber(now), tonumber(event[7]), tonumber(event[8])
local per_buyer, opens, closes = tonumber(event[9] or nil), tonumber(event[10] or nil), tonumber(event[16] or nil)
local max_held, max_hold_s = tonumber(event[13] or nil), tonumber(event[14] or nil)
local due = ended_by(now)
local rows, by_key, by_order, by_hold, bought = {}, {}, {}, {}, {}
-- By what, times its quantity, a record changes the tickets sold and those held.
local changes = {
  sold = {1, 0}, cancelled = {-1, 0}, held = {0, 1}, confirmed = {1, -1}, released = {0, -1}, expired = {0, -1}
}
local function left() return capacity - sold - held end
local function refuse(code, more) return '! ' .. code .. ' ' .. version .. ' ' .. left() .. (more or '') end
local function is_limited(buyer) return per_buyer and type(buyer) == 'string' end
local function has_enough(buyer, quantity)
  if not is_limited(buyer) then return false end
  local has = tonumber(redis.call('HGET', KEYS[6], buyer) or 0) + (bought[buyer] or 0)
  return has + quantity > per_buyer
end

-- Seats: what this batch did to them, and all of them in one string once somebody wants the best.
local by_seat, house = {}, nil
local function mark(seat, state)
  by_seat[seat] = state
  if house then house = string.sub(house, 1, seat) .. state .. string.sub(house, seat + 2) end
end
local function whole_house()
  if not house then
    house = states_of(0, capacity - 1)
    for seat, state in pairs(by_seat) do mark(seat, state) end
  end
  return house
end
-- The places, in the list, of those that are taken.
local function taken(seats)
  local places = {}
  for place, seat in ipairs(seats or {}) do
    if (by_seat[seat] or states_of(seat, seat)) ~= '\\0' then places[#places + 1] = place end
  end
  return places
end
-- The places in a row from which so many seats begin, those nearest to its middle first.
local function around(size, width)
  local last = size - width
  local low = math.floor(last / 2)
  local high = low + 1
  return function()
    if low >= 0 and last - 2 * low <= 2 * high - last then low = low - 1 return low + 1 end
    if high <= last then high = high + 1 return high - 1 end
  end
end
local function best(rows, quantity, together)
  local states, found, first = whole_house(), {}, rows[1]
  local width = together and quantity or 1
  local free = string.rep('\\0', width)
  for place = 2, #rows do
    local row = string.sub(states, first + 1, first + rows[place])
    if string.find(row, free, 1, true) then
      for at in around(rows[place], width) do
        if string.sub(row, at + 1, at + width) == free then
          for seat = first + at, first + at + width - 1 do found[#found + 1] = seat end
          if #found == quantity then table.sort(found) return found end
        end
      end
    end
    first = first + rows[place]
  end
end
local function free_in(rows)
  local size = 0
  for place = 2, #rows do size = size + rows[place] end
  local _, free = string.gsub(string.sub(whole_house(), rows[1] + 1, rows[1] + size), '%z', '')
  return free
end
local function choose(command)
  if command.seats then
    local places = taken(command.seats)
    if #places > 0 then return nil, refuse('seat_taken', ' ' .. table.concat(places, ' ')) end
    return command.seats
  end
  local rows = asked[9][command.section]
  local seats = best(rows, command.quantity, command.together)
  if seats then return seats end
  if free_in(rows) >= command.quantity then return nil, refuse('not_together') end
  return nil, refuse(command.section == '' and 'sold_out' or 'section_sold_out')
end

-- A record of what a command wants, or of tickets that were given out before, under the numbers that these have.
local function put_down(kind, command, tickets)
  local first, quantity, buyer, by = tickets.first, tickets.quantity, tickets.buyer, changes[kind]
  local seats = tickets.seats
  version, sold, held = version + 1, sold + by[1] * quantity, held + by[2] * quantity
  if not first then first, next_ticket = next_ticket, next_ticket + quantity end
  if is_limited(buyer) then bought[buyer] = (bought[buyer] or 0) + (by[1] + by[2]) * quantity end
  local whose = type(buyer) == 'string' and ',"buyer":' .. cjson.encode(buyer) or ''
  local where = seats and ',"seats":[' .. table.concat(seats, ',') .. ']' or ''
  for _, seat in ipairs(seats or {}) do mark(seat, seat_states[kind] or '\\0') end
  local line = '{"version":' .. version .. ',"first":' .. first .. ',"remaining":' .. left()
    .. ',"kind":"' .. kind .. '","quantity":' .. quantity .. whose .. where .. command.rest
  rows[#rows + 1] = {command.key, command.order, line, command.hold, kind, command.ends_us, version, seats}
  by_key[command.key], by_order[command.order] = line, line
  if command.hold ~= '' then
    by_hold[command.hold] = {first = first, quantity = quantity, buyer = buyer, seats = seats, stands = kind}
  end
  return '+ ' .. line
end

local function expire()
  for _, line in ipairs(due) do
    local made = cjson.decode(line)
    local rest = ',"key":"","order":"","hold":' .. cjson.encode(made.hold) .. '}'
    put_down('expired', {key = '', order = '', hold = made.hold, rest = rest}, made)
  end
  due = {}
end

local function give(kind, command)
  if command.unknown then return refuse(command.unknown) end
  if command.quantity > per_order then return refuse('over_limit') end
  if command.too_wide then return refuse('row_too_short') end
  if per_buyer and type(command.buyer) ~= 'string' then return refuse('buyer_needed') end
  if kind == 'held' and max_hold_s and command.seconds > max_hold_s then return refuse('hold_too_long') end
  if opens and now_us < opens or closes and now_us >= closes then return refuse('doors_closed') end
  if has_enough(command.buyer, command.quantity) then return refuse('buyer_limit') end
  local seats, refusal
  if asked[8] then seats, refusal = choose(command) end
  if refusal then return refusal end
  if command.quantity > left() then return refuse('sold_out') end
  if kind == 'held' and max_held and held + command.quantity > max_held then return refuse('too_many_held') end
  return put_down(kind, command, {quantity = command.quantity, buyer = command.buyer, seats = seats})
end

local function find_hold(hold)
  if by_hold[hold] then return by_hold[hold] end
  local _, seq, stands = look_up(hold)
  if not seq then return end
  local made = cjson.decode(line_of(seq))
  made.stands = stands
  return made
end

local function confirm(command)
  local made = find_hold(command.hold)
  if not made then return refuse('unknown_hold') end
  if made.stands == 'held' then return put_down('confirmed', command, made) end
  if made.stands ~= 'expired' then return refuse('not_open') end
  -- Late: a new sale of what it had, under new numbers, of the same seats.
  if made.quantity > left() or #taken(made.seats) > 0 then return refuse('hold_expired') end
  if has_enough(made.buyer, made.quantity) then return refuse('buyer_limit') end
  return put_down('sold', command, {quantity = made.quantity, buyer = made.buyer, seats = made.seats})
end

local function release(command)
  local made = find_hold(command.hold)
  if not made then return refuse('unknown_hold') end
  if made.stands ~= 'held' then return refuse('not_open') end
  return put_down('released', command, made)
end

local function line_under(hash, mine, id)
  if id == '' then return end
  if mine[id] then return mine[id] end
  local seq = redis.call('HGET', hash, id)
  return seq and line_of(seq)
end

local function cancel(command)
  local line = line_under(KEYS[5], by_order, command.order)
  if not line then return refuse('unknown_order') end
  local last = cjson.decode(line)
  if last.kind == 'cancelled' then return refuse('not_open') end
  return put_down('cancelled', command, last)
end

local function decide(command)
  -- What a key has committed is told again, and expires nothing.
  local known = line_under(KEYS[4], by_key, command.key)
  if known and (cjson.decode(known).request or '') ~= command.request then return refuse('key_reused') end
  if known then return '= ' .. known end
  expire()
  if command.wants == 'Sell' then return give('sold', command) end
  if command.wants == 'Hold' then return give('held', command) end
  if command.wants == 'Cancel' then return cancel(command) end
  if command.wants == 'Confirm' then return confirm(command) end
  if command.wants == 'Release' then return release(command) end
  return '~ ' .. version .. ' ' .. left()
end
"""
