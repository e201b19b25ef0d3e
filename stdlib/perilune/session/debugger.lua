-- m:debug(input): a pass that stops at every named tensor. Only in a session, where someone answers.
local show = require "perilune.show.show"

local debugger = {}

local keys = "Enter: next, c: to the end, q: stop here, or Lua about t (this tensor) and path"

-- Runs a typed expression with t and path at hand.
local function evaluate(line, t, path)
  local chunk, err = loadstring("return " .. line, "=line")
  if not chunk then chunk, err = loadstring(line, "=line") end
  if not chunk then return print(err) end
  local result
  local fine = xpcall(function()
    setfenv(chunk, setmetatable({ t = t, path = path }, { __index = _G, __newindex = _G }))
    result = chunk()
  end, function(raised) print(tostring(raised)) end)
  if fine and result ~= nil then print(show.show(result)) end
end

local stop = {}

--- Adds `debug` to models.
---@param host table the session's: read(prompt)
function debugger.install(host)
  local Model = require "perilune.model"
  function Model.debug(m, input, opts)
    local going, handles = true, {}
    local function at(path)
      return function(t)
        if not going then return end
        print(("%-28s %s"):format(path, (tostring(t):match "^[^\n]*")))
        while true do
          local line = host.read "debug> "
          if line == nil or line == "q" then error(stop, 0) end
          if line == "" or line == "n" then return end
          if line == "c" then
            going = false
            return
          end
          if line == "?" then print(keys) else evaluate(line, t, path) end
        end
      end
    end
    print(keys)
    for _, path in ipairs(m:paths()) do
      if not path:find "%.weights$" then handles[#handles + 1] = m:hook(path, at(path)) end
    end
    local fine, result = pcall(m.forward, m, input, opts)
    for _, handle in ipairs(handles) do handle:remove() end
    if not fine and result ~= stop and not tostring(result):find "debug_stop" then error(result, 0) end
    return fine and result or nil
  end
end

return debugger
