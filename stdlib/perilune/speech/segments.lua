-- A window's ids cut where times stand: segments of the recording, and how far it was heard.
local segments = {}

local step = 0.02   -- seconds from one time to the next

--- What one window says. Pairs of times end one segment and begin the next; what comes after the last pair was not
--- heard to its end, and the next window begins there.
---@param t table the transcriber
---@param ids integer[] times and text
---@param from number seconds: where the window begins
---@param length number seconds of sound in it
---@return table[] list { from=, to=, ids= (text alone), timed_ids= (times, too) }
---@return number heard seconds of the window
---@return boolean ended whether nothing is said after the last time
function segments.of(t, ids, from, length)
  local first_time, stop = t.special.first_time, t.special.stop
  local function is_time(id) return id ~= nil and id >= first_time end
  local function seconds(id) return (id - first_time) * step end
  local list = {}
  local function add(first, last, start, finish)
    local text, timed = {}, {}
    for i = first, last do
      timed[#timed + 1] = ids[i]
      if ids[i] < stop then text[#text + 1] = ids[i] end
    end
    if #text > 0 and finish > start then
      list[#list + 1] = { from = from + start, to = from + math.min(finish, length), ids = text, timed_ids = timed }
    end
  end
  local single = is_time(ids[#ids]) and not is_time(ids[#ids - 1])   -- it ends with the end of what is said
  local pairs_at = {}
  for i = 1, #ids - 1 do if is_time(ids[i]) and is_time(ids[i + 1]) then pairs_at[#pairs_at + 1] = i + 1 end end
  if #pairs_at == 0 then
    local finish = length
    for i = #ids, 2, -1 do
      if is_time(ids[i]) and seconds(ids[i]) > 0 then
        finish = seconds(ids[i])
        break
      end
    end
    add(1, #ids, is_time(ids[1]) and seconds(ids[1]) or 0, finish)
    return list, length, single
  end
  if single then pairs_at[#pairs_at + 1] = #ids + 1 end
  local first = 1
  for _, next_one in ipairs(pairs_at) do
    add(first, next_one - 1, is_time(ids[first]) and seconds(ids[first]) or 0, seconds(ids[next_one - 1]))
    first = next_one
  end
  if single then return list, length, true end
  local heard = seconds(ids[first - 1])
  return list, heard > 0 and heard or length, false
end

return segments
