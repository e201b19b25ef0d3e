-- Commands for everyday work: help, files of Lua, what was typed.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local pager = require "perilune.session.pager"

local working = {}

function working.help(session, rest)
  local commands = require "perilune.session.session_commands"
  local command = commands.find(rest:match "^:?(.*)$")
  if rest == "" then
    pager.show(session, commands.overview())
  elseif command and (rest:sub(1, 1) == ":" or #require("perilune.help.help").find(rest, session) == 0) then
    print(commands.usage(command) .. "\n" .. command.help)
  else
    pager.show(session, require("perilune.help.help").text(rest, session))
  end
end

function working.quit() return false end

function working.trace(session) print(session:last_trace() or "no error yet") end

-- Runs a file's Lua as it is now.
local function run_file(session, path)
  local chunk, problem = loadfile(path)
  if not chunk then return session:report { value = problem, trace = "" } end
  session.loaded_file = path
  session:run(chunk)
end

function working.load(session, rest)
  if rest == "" then raise("argument", "load", "which file?", ":load FILE") end
  run_file(session, rest)
end

function working.reload(session, rest)
  local name = rest ~= "" and rest or session.loaded_file
  if not name then raise("argument", "reload", "no file was loaded yet", ":reload FILE, or the name of a module") end
  if not package.loaded[name] then
    -- A module that is known by its file: required anew, so that what requires it next gets this one.
    for module in pairs(package.loaded) do
      if package.searchpath(module, package.path) == name then
        package.loaded[module] = nil
        require(module)
        print("required " .. module .. " anew")
        return
      end
    end
    return run_file(session, name)
  end
  local before = package.loaded[name]
  package.loaded[name] = nil
  local fine, problem = pcall(require, name)
  if not fine then
    package.loaded[name] = before
    error(problem, 0)
  end
  print("required " .. name .. " anew")
end

-- An input as a line of a script: an expression's value goes where the session kept it.
local function script_line(input)
  if not input.fine then return "-- failed: " .. input.text:gsub("\n", "\n-- ") end
  if input.at_stop then return "-- at a stop: " .. input.text:gsub("\n", "\n-- ") end
  local command = input.text:match "^%s*[:?]"
  if command then return "-- " .. input.text end
  if not input.text:find "\n" and loadstring("return " .. (input.text:gsub(";%s*$", ""))) then
    return ("_%d = %s"):format(input.number, (input.text:gsub(";%s*$", ""))) .. "; _ = _" .. input.number
  end
  return (input.text:gsub("^%s*local%s+", ""))
end

function working.save(session, rest)
  if rest == "" then raise("argument", "save", "into which file?", ":save FILE") end
  local lines = { "-- A session's inputs; perilune FILE or :load FILE does the same.", 'pl = require "perilune"' }
  for _, input in ipairs(session.inputs) do lines[#lines + 1] = script_line(input) end
  local file, problem = io.open(rest, "w")
  if not file then raise("file", "save", problem, "name a file in a folder that can be written") end
  file:write(table.concat(lines, "\n"), "\n")
  file:close()
  print(("%d inputs in %s"):format(#session.inputs, rest))
end

function working.edit(session, rest)
  local path, own = rest, rest == ""
  if own then
    path = os.tmpname()
    local file = assert(io.open(path, "w"))
    local last = session.inputs[#session.inputs]
    file:write(last and last.text or "", "\n")
    file:close()
  end
  local editor = os.getenv "VISUAL" or os.getenv "EDITOR" or "vi"
  local status = os.execute(editor .. " '" .. path:gsub("'", "'\\''") .. "'")
  if status ~= 0 and status ~= true then
    if own then os.remove(path) end
    raise("state", "edit", ("the editor %q ended with a failure"):format(editor), "name another one: EDITOR=nano perilune")
  end
  if not own then return run_file(session, path) end
  local text = core.read_file(path):gsub("%s+$", "")
  os.remove(path)
  if text == "" then return end
  print(text)
  session:line(text)
  session.number = session.number - 1  -- it is this command's input
end

return working
