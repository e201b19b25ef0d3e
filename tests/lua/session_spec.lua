-- What the lines of a session do, without a terminal.
local t = require "spec"
local repl = require "perilune.session.repl"
local command_table = require "perilune.session.command_table"
local commands = require "perilune.session.session_commands"
local results = require "perilune.session.results"

-- What `f` prints on standard output.
local function printed(f)
  local real, lines = print, {}
  _G.print = function(...)
    local words = {}
    for i = 1, select("#", ...) do words[i] = tostring((select(i, ...))) end
    lines[#lines + 1] = table.concat(words, "\t")
  end
  local fine, err = pcall(f)
  _G.print = real
  if not fine then error(err, 0) end
  return table.concat(lines, "\n")
end

-- A session in which nobody types; what its lines print, and what they raise. `asked` answers its questions.
local function session(asked)
  local one
  printed(function()
    one = repl.new { interactive = true, version = "0", read = function()
      local line = table.remove(asked or {}, 1)
      if line == nil then return nil, "end" end
      return line
    end }
  end)
  function one.report(self, err)
    self.last_error = err
    print("! " .. require("perilune.session.errors").message(err.value))
  end
  return one, function(text) return printed(function() one:line(text) end) end
end

local function forget(...)
  for _, name in ipairs { ... } do rawset(_G, name, nil) end
end

t.test("the table of commands: names once, a function and a line of help each", function()
  local seen = {}
  for _, section in ipairs(command_table) do
    for _, row in ipairs(section.rows) do
      for _, name in ipairs { row.name, unpack(row.aliases or {}) } do
        t.ok(not seen[name], name .. " stands twice")
        seen[name] = true
      end
      t.equal(type(require(row.where)[row.name]), "function", row.where .. "." .. row.name)
      t.ok(#row.help > 0 and #commands.usage(row) <= 40 and not row.help:find "\n", row.name)
      t.ok(commands.overview():find(commands.usage(row), 1, true), row.name .. " is not in :help")
    end
  end
end)

t.test("inputs have numbers, which errors and results name", function()
  local one, line = session()
  t.equal(one:prompt(), "[1]> ")
  t.equal(line "40 + 2", "42")
  t.equal(one:prompt(), "[2]> ")
  t.equal(line "_1 + _", "84")
  t.equal(line "do\n  local x = nil + 1\nend", "! [3]:2: attempt to perform arithmetic on a nil value")
  t.equal(line "x ==== 1", "! [4]:1: '=' expected near '=='")
  t.equal(line "_99", "! [5]:1: _99 is not kept: no such input, or its value made room for later ones")
  forget("_", "_1", "_2")
end)

t.test("results are bounded by their bytes together", function()
  local kept = results.kept_bytes
  results.kept_bytes = 1000
  local _, line = session()
  line '("x"):rep(600)'
  t.equal(line "#_1", "600")
  line '{ ("y"):rep(500) }'
  t.ok(line "_1":find "_1 is not kept", "the oldest made room")
  t.equal(line "#_3[1]", "500")
  t.equal(line '("z"):rep(2000);', "(2.0 KiB: not kept in _; give it a name to keep it)")
  results.kept_bytes = kept
  forget("_", "_2", "_3", "_5")
end)

t.test("what is finished runs, what is not goes on", function()
  local one = session()
  for text, finished in pairs { ["1 +"] = false, ["f("] = false, ["function f()"] = false, ["1 1"] = true, [":load ("] = true,
    ["?("] = true, ["x = [["] = false, ["for i = 1, 2 do\nend"] = true } do
    t.equal(one:finished(text), finished, text)
  end
end)

t.test("a stop has names of its own, takes commands, and ends with a value", function()
  local one, line = session { "hidden + 1", "hidden = 5", "hidden * 2", ":leave_", "elsewhere = 7", "unknown_" }
  local hidden, answer = 1, nil
  local scope = { prompt = "stop> ", get = function(name) return name == "hidden", hidden end,
    set = function(name, value)
      if name == "hidden" then hidden = value end
      return name == "hidden"
    end }
  local said = printed(function() answer = one:stay(scope) end)
  t.equal(answer, nil, "the input ended")
  t.equal(hidden, 5)
  t.ok(said:find "^2\n10\n! no command is called :leave_", said)
  t.equal(line "elsewhere", "7")
  t.ok(line "hidden":find "hidden is not defined", "its names end with it")
  t.equal(#one.scopes, 0)
  local other = session { "1 + done", "2" }
  printed(function() answer = other:stay { prompt = "> ", get = function(name)
    if name ~= "done" then return false end
    other:leave "left"
    return true, 3
  end } end)
  t.equal(answer, "left")
  forget("_", "_1", "_2", "_3", "_6", "elsewhere")
end)

t.test("quit and exit as people type them, unless they are names", function()
  for _, text in ipairs { "quit", "exit", "exit()", ":q", ":quit", ":exit" } do
    local one = session()
    t.equal(one:line(text), false, text)
  end
  local one, line = session()
  line "exit = 3"
  t.equal(line "exit", "3")
  t.equal(one:line "exit", true)
  forget("_", "_1", "_2", "_3", "exit")
end)
