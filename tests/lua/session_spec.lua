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

_G.pl = require "perilune"  -- as sessions make it


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

t.test("lines of a pipe have the numbers of its lines in errors, in mistakes of writing, too", function()
  local one, line = session()
  one.host.interactive = false
  line "1"
  line ""
  t.equal(line "x ==== 1", "! stdin:3: '=' expected near '=='")
  line "for i = 1, 1 do"
  t.equal(line "  y ==== 2", "! stdin:5: '=' expected near '=='")
  t.ok(line "nobody_knows":find "^! stdin:6: nobody_knows is not defined")
  forget("_", "_1")
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

t.test("the lines of a block run as if they came one by one", function()
  local one, line = session()
  t.equal(line "a = 1\na + 1\n\nfor i = 1, 2 do\n  print(i)\nend\na + 2", "2\n1\n2\n3")
  t.equal(one:prompt(), "[2]> ", "it is one input")
  t.equal(line "local b = 20\nfunction double()\n  return b * 2\nend\ndouble()", "40")
  t.equal(line "print 'never'\nb ==== 1", "! [3]:2: '=' expected near '=='")
  t.equal(line "b = 5\nerror 'here'\nb = 6", "! [4]:2: here")
  t.equal(line "b", "5")
  t.equal(line "[6]> b = 7\n  >>\n[7]> b\n8", "7\n8", "with the prompts of another session")
  t.equal(line "?:quit\n9", ":quit\nleave; Ctrl-D, exit and quit do, too\n9")
  for text, finished in pairs { ["a = 1\nfor i = 1, 2 do"] = false, ["a = 1\nb"] = true, ["f(\n\n"] = false, ["a ==== 1\nf("] = true } do
    t.equal(one:finished(text), finished, text)
  end
  forget("_", "_1", "_2", "_5", "_6", "_7", "a", "b", "double")
end)

t.test("hints say what the open call takes", function()
  local one = session()
  for text, hint in pairs { ["pl.load("] = "^pl%.load%(path, opts%)", ['pl.load("x", { compute = '] = "^compute: ", ["x = pl.zeros({ 1"] = "^pl%.zeros" } do
    t.ok((one:hint(text) or ""):find(hint), text .. ": " .. tostring(one:hint(text)))
  end
  for _, text in ipairs { "", "pl.load", "unknown(", "pl.load()", "(" } do t.equal(one:hint(text), nil, text) end
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

t.test("commands measure: once, and the median of many runs", function()
  local _, line = session()
  t.ok(line ":time 1 + 1":find "^2\n[%d%.]+ ms$")
  t.ok(line ":time 1 + 1;":find "^[%d%.]+ ms$")
  t.ok(line ":bench 1 + 1":find "^median [%d%.]+ µs of %d+ runs %(least ")
  t.ok(line ":bench nil + 1":find "^! %[4%]:1: attempt to perform arithmetic")
  t.ok(line ":bench":find "^! bench needs something to run")
  t.equal(line ":time x ==== 1", "! [6]:1: '=' expected near '=='")
  forget("_", "_1", "_2")
end)

t.test("what a method shows itself is not shown twice", function()
  local _, line = session()
  line "shown = pl.ones { 2 }"
  t.equal(select(2, line "shown:show()":gsub("Tensor", "")), 1)
  t.equal(select(2, line "shown":gsub("Tensor", "")), 1)
  t.equal(select(2, line "shown:show { columns = 1 }":gsub("Tensor", "")), 1)
  t.ok(not line "shown:hist()":find "Tensor")
  t.ok(line "_":find "Tensor", "it is the last value all the same")
  forget("shown", "_", "_2", "_3", "_4", "_5", "_6")
end)

t.test("commands list what there is, by device", function()
  local _, line = session()
  line 'tensor_here = pl.zeros({ 2, 3 }, { axes = { "token", "hidden" } })'
  local said = line ":whos"
  t.ok(said:find "tensor_here +24 B +cpu +Tensor f32%[token=2, hidden=3%]", said)
  t.ok(said:find "1 name; 24 B on cpu$", said)
  t.ok(line ":mem":find "^device +used +peak +free +memory\ncpu ")
  forget "tensor_here"
end)

t.test("inputs are saved as a script that does the same", function()
  local path = os.tmpname()
  local one, line = session()
  line "local saved = 20"
  line "saved + 1"
  line "error 'never again'"
  line "for i = 1, 2 do\n  saved = saved + i\nend"
  line ":time 1"
  one.scopes[1] = { get = function() return false end }
  line "nobody_knows = 1"
  one.scopes[1] = nil
  t.equal(line(":save " .. path), "6 inputs in " .. path)
  forget("saved", "_2", "_")
  local _, fresh = session()
  t.equal(fresh(":load " .. path), "")
  forget "nobody_knows"
  t.equal(fresh "saved .. '' .. _2", '"2321"')
  t.ok(fresh "nobody_knows":find "not defined", "what was typed at a stop is not typed again")
  t.ok(line ":save /nowhere/at/all":find "^! save: /nowhere/at/all: No such file")
  os.remove(path)
  forget("saved", "_", "_1", "_2", "_5")
end)

t.test("files and modules are loaded as they are now", function()
  local folder = os.tmpname()
  os.remove(folder)
  require("perilune.core").make_directory(folder, "session_spec")
  local function write(name, text)
    local file = assert(io.open(folder .. "/" .. name, "w"))
    file:write(text)
    file:close()
  end
  local path = package.path
  package.path = folder .. "/?.lua"
  local _, line = session()
  write("script.lua", "return 'first'")
  t.equal(line(":load " .. folder .. "/script.lua"), '"first"')
  write("script.lua", "return 'second'")
  t.equal(line ":reload", '"second"')
  write("reloaded_module.lua", "return { value = 1 }")
  t.equal(line "require('reloaded_module').value", "1")
  write("reloaded_module.lua", "return { value = 2 }")
  t.equal(line ":reload reloaded_module", "required reloaded_module anew")
  t.equal(line "require('reloaded_module').value", "2")
  write("reloaded_module.lua", "return { value = 3 }")
  t.equal(line(":reload " .. folder .. "/reloaded_module.lua"), "required reloaded_module anew")
  t.equal(line "require('reloaded_module').value", "3")
  write("reloaded_module.lua", "return {")
  t.ok(line ":reload reloaded_module":find "^! .*unexpected symbol")
  t.equal(line "require('reloaded_module').value", "3", "the one before stays")
  t.ok(line(":load " .. folder .. "/none.lua"):find "cannot open")
  package.path = path
  for _, name in ipairs { "script.lua", "reloaded_module.lua" } do os.remove(folder .. "/" .. name) end
  os.remove(folder)
  package.loaded.reloaded_module = nil
  for i = 1, 12 do forget("_" .. i) end
  forget "_"
end)

t.test("an input is edited and run", function()
  local getenv, path = os.getenv, os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write '#!/bin/sh\nsed -i s/40/50/ "$1"\n'
  file:close()
  os.execute("chmod +x " .. path)
  os.getenv = function(name) return name == "VISUAL" and path or nil end  -- luacheck: ignore 122
  local one, line = session()
  line "40 + 2"
  local said = line ":edit"
  os.getenv = getenv  -- luacheck: ignore 122
  t.equal(said, "50 + 2\n52")
  t.equal(one:prompt(), "[3]> ")
  os.remove(path)
  forget("_", "_1", "_2")
end)

t.test("?name has an example for every function, ??name the source", function()
  local documentation = require "perilune.help.documentation"
  local help = require "perilune.help.help"
  for _, entry in ipairs(documentation.all().list) do
    if entry.kind == "function" or entry.kind == "method" then
      t.ok(("\n" .. help.text(entry.name)):find "\n    %S", entry.name .. " has no example")
    end
  end
  for name, call in pairs { ["Net:linear"] = "layer:linear(", ["Net:select"] = 'net:select(x, "', ["Net:cached"] = "layer:cached(k, v)" } do
    t.ok(help.text(name):find("\n    " .. call, 1, true), "a line of a family:\n" .. help.text(name))
  end
  local one, line = session()
  line "function mine(a)\n  return a\nend"
  t.equal(line "??mine", "[1]:1\nfunction mine(a)\n  return a\nend")
  t.ok(line "??pl.show":find "function show%.show%(value, opts%)\n.*\nend$")
  t.equal(#one.inputs, 3)
  forget "mine"
end)

t.test("a long text comes a screen at a time", function()
  local one, line = session { "", "q" }
  one.host.rows = function() return 10 end
  local said = line "?pl"
  t.equal(select(2, said:gsub("\n", "")) + 1, 16, "two screens of eight rows")
  local other, answer = session { "6 * 7" }
  other.host.rows = function() return 10 end
  t.ok(answer "?pl":find "\n42$", "another answer is a line")
  forget("_", "_1")
end)

t.test("an interrupt that stops the handler of an error is an interrupt", function()
  local errors = require "perilune.session.errors"
  for _, caught in ipairs { "error in error handling", "[3]:1: interrupted" } do t.ok(errors.is_interrupt(errors.caught(caught).value), caught) end
  t.equal(errors.caught("not enough memory").value, "not enough memory")
  local plain = { value = 1, trace = "" }
  t.equal(errors.caught(plain), plain)
end)

t.test("errors of a person: operands one below the other, the line, what to do", function()
  local errors = require "perilune.session.errors"
  local one = session()
  printed(function() one:line 'narrow = pl.zeros({ 2, 3 }, { axes = { "token", "hidden" } })\nnarrow:softmax "hiden"' end)
  local text = errors.for_person(one.last_error, one)
  t.equal(text, 'softmax: there is no axis "hiden"\n  shape  [token=2, hidden=3]\n  did you mean "hidden"?\n  [1]:2  narrow:softmax "hiden"')
  one.host.coloured = true
  t.ok(errors.for_person(one.last_error, one):find "^\27%[31msoftmax: ")
  forget "narrow"
end)

t.test("a long table is not compiled line by line, whether it is pasted or comes through a pipe", function()
  local lines = { "long = {" }
  for i = 1, 4000 do lines[#lines + 1] = ("  { %d, 'abc }', [=[ { ]=] }, -- {{"):format(i) end
  lines[#lines + 1] = "}"
  local one, say = session()
  local started = os.clock()
  t.equal(say(table.concat(lines, "\n") .. "\n#long"), "4000")
  one:line "long = nil"
  for _, line in ipairs(lines) do one:line(line) end
  t.equal(say "#long", "4000")
  t.ok(os.clock() - started < 5, "seconds: " .. os.clock() - started)
  -- What is wrong in a short one is said at once, in a long one where it ends.
  t.ok(say("x = {\n1,,"):find "unexpected symbol near ','")
  lines[100] = "1,,"
  t.ok(say(table.concat(lines, "\n")):find "unexpected symbol near ','")
end)
