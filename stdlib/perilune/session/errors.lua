-- What a line raised, as text.
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

--- The message of what was raised.
---@param value any
---@return string
function errors.message(value)
  return type(value) == "table" and rawget(value, "message") or tostring(value)
end

--- Whether it was Ctrl-C.
---@param value any
---@return boolean
function errors.is_interrupt(value)
  local code = type(value) == "table" and rawget(value, "code")
  return code == "interrupted" or errors.message(value):find "interrupted$" ~= nil
end

--- The message and the script's own frames.
---@param err table { value=, trace= }
---@return string
function errors.with_frames(err)
  local frames = own_frames(err.trace)
  return errors.message(err.value) .. (frames ~= "" and "\n" .. frames or "")
end

return errors
