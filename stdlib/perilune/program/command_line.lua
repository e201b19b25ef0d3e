-- What every verb of the program shares: reading arguments, tables, progress, exit statuses.
--
-- A verb is a module perilune.commands.NAME that returns
--   { summary = one line, usage = "perilune NAME …", options = { name = { value = "N" | nil, help = } },
--     help = more text or nil, run = function(options, arguments) → exit status }
local core = require "perilune.core"
local names_of = require "perilune.base.names_of"
local progress = require "perilune.base.progress"
local columns = require "perilune.base.columns"

local command_line = {}

command_line.ok, command_line.failed, command_line.wrong_usage = 0, 1, 2

--- Says on standard error what is wrong with a verb's arguments, and how it is used.
---@param verb table a verb's module
---@param what string
---@return integer status wrong_usage
function command_line.misused(verb, what)
  io.stderr:write(verb.usage:match "^perilune %S+", ": ", what, "; usage: ", verb.usage, "\n")
  return command_line.wrong_usage
end

local function usage_error(message)
  return core.error { code = "option", op = "perilune", message = message, level = 1 }
end

--- Splits arguments into options and the rest, by a verb's `options` table. `--name value`,
--- `--name=value` and `--flag`; `--` ends options.
---@param verb table a verb's module
---@param arguments string[]
---@return table options by name, underscores for dashes
---@return string[] rest
function command_line.parse(verb, arguments)
  local options, rest, at = {}, {}, 1
  local known = { "help" }
  for name in pairs(verb.options or {}) do known[#known + 1] = name end
  table.sort(known)
  while at <= #arguments do
    local word = arguments[at]
    local name, value = word:match "^%-%-([^=]+)=(.*)$"
    name = name or word:match "^%-%-(.+)$"
    if word == "--" then
      for i = at + 1, #arguments do rest[#rest + 1] = arguments[i] end
      break
    elseif word == "-h" or name == "help" then
      options.help = true
    elseif not name then
      rest[#rest + 1] = word
    else
      local spec = (verb.options or {})[name]
      if not spec then
        local near = core.nearest(name, known)
        usage_error("unknown option --" .. name .. (near and "; did you mean --" .. near .. "?"
          or #known <= 12 and "; options are --" .. table.concat(known, ", --") or ""))
      end
      if spec.value then
        if not value then
          at = at + 1
          value = arguments[at]
          if value == nil then usage_error("option --" .. name .. " needs a value: --" .. name .. " " .. spec.value) end
        end
        if spec.number then
          local number = tonumber(value)
          if not number then usage_error("option --" .. name .. " needs a number, got \"" .. value .. "\"") end
          value = number
        end
      elseif value then
        usage_error("option --" .. name .. " takes no value")
      end
      options[(name:gsub("%-", "_"))] = value or true
    end
    at = at + 1
  end
  return options, rest
end

--- The text that `perilune help NAME` and `perilune NAME --help` print.
---@param name string
---@param verb table
---@return string
function command_line.help_text(name, verb)
  local lines = { "perilune " .. name .. ": " .. verb.summary, "", "usage: " .. verb.usage }
  local names = names_of(verb.options or {})
  if #names > 0 then lines[#lines + 1] = "" end
  for _, option in ipairs(names) do
    local spec = verb.options[option]
    local left = "--" .. option .. (spec.value and " " .. spec.value or "")
    lines[#lines + 1] = ("  %-24s %s"):format(left, spec.help)
  end
  if verb.help then lines[#lines + 1] = "\n" .. verb.help end
  return table.concat(lines, "\n") .. "\n"
end

--- Left-aligned columns (numbers right), for terminals and pipes alike.
command_line.columns = columns.text

--- A progress line on a terminal; silent in a pipe. `progress(done, total)`, `progress(nil)` clears it.
---@param label string
---@return fun(done: number|nil, total: number|nil)
function command_line.progress(label) return progress.counter(label, 0) end

--- Raises what was raised again where Ctrl-C is why: it ends a verb and is no failure of what the verb looks at.
---@param err any what was raised
function command_line.pass_interrupt(err)
  if not core.interrupted() then return end
  local text = tostring(err)   -- Lua's own where Ctrl-C stopped an error's handler
  if text:find("interrupted", 1, true) or text:find("error in error handling", 1, true) then error("interrupted", 0) end
end

--- Says what failed; an interrupt is raised again, for the program to tell.
---@param err any what was raised
---@return integer status
function command_line.report(err)
  command_line.pass_interrupt(err)
  io.stdout:flush()
  io.stderr:write("perilune ", tostring(err), "\n")
  return type(err) == "table" and rawget(err, "code") == "option" and command_line.wrong_usage or command_line.failed
end

return command_line
