-- What a line raised, as text.
local core = require "perilune.core"

local errors = {}

-- The script's own frames: not the library's, not C functions.
local function own_frames(trace)
  local lines = {}
  for line in (trace or ""):gmatch "[^\n]+" do
    if line:find "^\t" and not line:find("^\t%[[%aC]") and not line:find("^\tstdlib/perilune/") then lines[#lines + 1] = line end
  end
  return table.concat(lines, "\n")
end

--- For xpcall: what was raised and where.
---@param raised any
---@return table { value=, trace= }
function errors.handler(raised)
  local err = { value = raised, trace = debug.traceback("", 2) }
  if type(raised) == "table" and rawget(raised, "traceback") then err.trace = raised.traceback end
  return err
end

--- What an xpcall with that handler gave after a failure. Ctrl-C may have stopped the handler itself.
---@param caught any
---@return table { value=, trace= }
function errors.caught(caught)
  if type(caught) == "table" then return caught end
  local stopped = caught == nil or tostring(caught):find "error in error handling" or tostring(caught):find "interrupted"
  return { value = stopped and "interrupted" or caught, trace = "" }
end

--- The message of what was raised.
---@param value any
---@return string
function errors.message(value)
  local message = type(value) == "table" and rawget(value, "message")
  if message then return tostring(message) end
  local meta = getmetatable(value)
  local plain = type(value) == "table" and not (type(meta) == "table" and rawget(meta, "__tostring"))
  return plain and require("perilune.show.show").show(value) or tostring(value)
end

--- Whether it was Ctrl-C.
---@param value any
---@return boolean
function errors.is_interrupt(value)
  local code = type(value) == "table" and rawget(value, "code")
  local message = errors.message(value)
  if core.interrupted() and message:find("error in error handling", 1, true) then return true end
  return code == "interrupted" or message:find "interrupted$" ~= nil or code == "cancelled" and message:find ": interrupted" ~= nil
end

--- The message and the script's own frames.
---@param err table { value=, trace= }
---@return string
function errors.with_frames(err)
  local frames = own_frames(err.trace)
  return errors.message(err.value) .. (frames ~= "" and "\n" .. frames or "")
end

-- The line of a place "[3]:2" or "file.lua:7", or nil.
local function source_line(place, session)
  local name, number = tostring(place):match "^(.-):(%d+)$"
  if not name then return nil end
  local text
  local input = tonumber(name:match "^%[(%d+)%]$")
  if input then
    text = input == session.number and session.running or nil
    for _, one in ipairs(session.inputs) do if one.number == input then text = one.text end end
  elseif core.file_exists(name) then
    text = core.read_file(name)
  end
  local at = 0
  for line in ((text or "") .. "\n"):gmatch "(.-)\n" do
    at = at + 1
    if at == tonumber(number) then return line:match "^%s*(.-)%s*$" end
  end
  return nil
end

-- Takes the first place of `part` out of a text.
local function without(text, part)
  local first, last = text:find(part, 1, true)
  if not first then return text end
  return text:sub(1, first - 1) .. text:sub(last + 1)
end

-- "a f32[2, 3]" → "a", "f32[2, 3]".
local function operands(shapes)
  local rows, width = {}, 0
  for i, shape in ipairs(shapes or {}) do
    local name, rest = shape:match "^(%S+) (.*)$"
    rows[i] = { name or "", rest or shape }
    width = math.max(width, #rows[i][1])
  end
  return rows, width
end

--- An error for a person: what is wrong, the operands one below the other, the line it comes from, what to do.
---@param err table { value=, trace= }
---@param session table
---@return string
function errors.for_person(err, session)
  local coloured = session.host.coloured
  local function paint(code, text) return coloured and "\27[" .. code .. "m" .. text .. "\27[0m" or text end
  local value, text = err.value, errors.message(err.value)
  local lines = {}
  local where = type(value) == "table" and rawget(value, "where") or text:match "^(.-:%d+): "
  if type(value) == "table" then
    local shapes, hint = rawget(value, "shapes") or {}, rawget(value, "hint")
    if where and where ~= "" then text = without(text, "; in " .. where) end
    if hint and hint ~= "" then text = without(text, "; " .. hint) end
    local rows, width = operands(shapes)
    if #rows > 0 then text = without(text, ": " .. table.concat(shapes, ", ")) end
    lines[1] = paint("31", text)
    for _, row in ipairs(rows) do lines[#lines + 1] = ("  %-" .. width .. "s  %s"):format(row[1], row[2]) end
    if hint and hint ~= "" then lines[#lines + 1] = "  " .. hint end
  else
    lines[1] = paint("31", text)
  end
  local source = where and source_line(where, session)
  if source and source ~= "" then lines[#lines + 1] = paint("2", ("  %s  %s"):format(where, source)) end
  return table.concat(lines, "\n")
end

return errors
