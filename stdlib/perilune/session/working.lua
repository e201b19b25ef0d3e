-- Commands for everyday work: help, running, measuring, names.
local core = require "perilune.core"
local show = require "perilune.show.show"
local byte_count = require "perilune.base.byte_count"

local working = {}

function working.help(session, rest)
  local commands = require "perilune.session.session_commands"
  local command = commands.find(rest:match "^:?(.*)$")
  if rest == "" then
    print(commands.overview())
  elseif command and (rest:sub(1, 1) == ":" or #require("perilune.help.help").find(rest, session) == 0) then
    print(commands.usage(command) .. "\n" .. command.help)
  else
    print(require("perilune.help.help").text(rest, session))
  end
end

function working.quit() return false end

function working.time(session, rest)
  local chunk, err = session:compile(rest)
  if not chunk then return session:report { value = err, trace = "" } end
  local start = core.clock()
  session:run(chunk)
  print(("%.3f ms"):format(1000 * (core.clock() - start)))
end

function working.whos(session)
  local rows, total = {}, 0
  for name, value in pairs(_G) do
    if not session.initial[name] and not name:find "^_%d*$" then
      local what, bytes = show.summary(value)
      rows[#rows + 1] = { name, what, bytes }
      total = total + (bytes or 0)
    end
  end
  table.sort(rows, function(a, b) return a[1] < b[1] end)
  for _, row in ipairs(rows) do print(("%-16s %12s  %s"):format(row[1], row[3] and byte_count.text(row[3]) or "", row[2])) end
  local memory = core.memory()
  print(("%d names; tensors hold %s now, %s at most so far"):format(#rows, byte_count.text(memory.used), byte_count.text(memory.peak)))
end

function working.load(session, rest)
  local chunk, err = loadfile(rest)
  if not chunk then return session:report { value = err, trace = "" } end
  session:run(chunk)
end

function working.trace(session) print(session:last_trace() or "no error yet") end

return working
