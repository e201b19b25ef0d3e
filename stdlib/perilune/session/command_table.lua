-- Every command of a session: what `:help` prints, what Tab offers, where it is done.
--
-- A row: { name = what follows the colon, aliases = other names or nil, arguments = "FILE" or nil, help = one line,
--   where = the module whose table has a function of that name: function(session, rest) → false to leave the session,
--   complete = what Tab offers after it: "file", "lua" (default), "command", "name" or function(typed word, all that is typed,
--   session) → words,
--   bare = true where `name` alone means it, too, while no variable is called so }
--
-- A new command is a row here and a function in its module. Names are never given a second meaning; a verb of the program
-- (:check MODEL) has its own name, unless a row's function passes it on.

local working = "perilune.session.working"
local workspace, measuring = "perilune.session.workspace", "perilune.session.measuring"
local debugger = "perilune.session.debugger"
local looking = "perilune.session.looking"

-- Paths of the only model that has a name.
local function paths(typed, _, session)
  local fine, model = pcall(require("perilune.session.models").only, session, "break")
  return fine and require "perilune.session.path_words"(model, typed) or {}
end

-- What may stand in a `:queue` line: what is done with it, and behind `policy` the shipped ones.
local function queue_words(_, typed)
  if typed:find "policy%s+%S*$" then return require "perilune.base.names_of"(require "perilune.policy") end
  local words = { "step", "run", "policy", "timeline" }
  for name, value in pairs(_G) do
    if type(name) == "string" and require("perilune.base.kind").of(value) == "Engine" then words[#words + 1] = name end
  end
  return words
end

return {
  { title = "Finding out", rows = {
    { name = "help", aliases = { "?", "h" }, arguments = "[NAME]", help = "this list, or what a name does: a function, a topic, a command", where = working,
      complete = "name" },
    { name = "whos", help = "your names, what they hold, how many bytes on which device", where = workspace },
    { name = "mem", help = "what devices and models hold, and what is free", where = workspace },
    { name = "trace", help = "where the last error came from", where = working },
  } },
  { title = "Working", rows = {
    { name = "time", arguments = "LUA", help = "run it once and say how long it took", where = measuring },
    { name = "bench", arguments = "LUA", help = "run it again and again: the median time; of a MODEL the verb", where = measuring },
    { name = "load", arguments = "FILE", help = "run a Lua file in this session", where = working, complete = "file" },
    { name = "reload", arguments = "[FILE|MODULE]", help = "run a file or require a module anew, as it is now; models stay",
      where = working, complete = "file" },
    { name = "save", arguments = "FILE", help = "the inputs so far as a script that does the same", where = working, complete = "file" },
    { name = "edit", arguments = "[FILE]", help = "the last input, or a file, in $EDITOR; then it runs", where = working, complete = "file" },
    { name = "quit", aliases = { "q", "exit" }, help = "leave; Ctrl-D, exit and quit do, too", where = working, bare = true },
  } },
  { title = "Looking inside a model (without an input: that of the last forward)", rows = {
    { name = "shapes", arguments = "[INPUT]", help = "shapes and statistics of every op of a pass", where = looking },
    { name = "lens", arguments = "[INPUT]", help = "what each layer would say if it were the last", where = looking },
    { name = "attention", arguments = "LAYER [HEAD] [INPUT]", help = "who looks at whom; layers count from 0, heads from 1", where = looking },
    { name = "patch", arguments = "FROM, INTO[, PATHS]", help = "activations of one text put into another: what each changes", where = looking },
    { name = "diff", arguments = "A, B[, INPUT]", help = "two models op by op, and where they part first", where = looking },
    { name = "graph", arguments = "FILE.svg", help = "the ops of a compiled pass as a picture", where = looking, complete = "file" },
  } },
  { title = "Looking into an engine", rows = {
    { name = "queue", arguments = "[ENGINE] [step N|run|policy P]", help = "who runs, who waits for what; steps; timeline FILE draws",
      where = looking, complete = queue_words },
  } },
  { title = "Stopping inside a model (at the prompt debug>)", rows = {
    { name = "debug", arguments = "[MODEL,] [INPUT]", help = "a pass that stops after each op, at breakpoints: m:debug", where = debugger },
    { name = "step", aliases = { "s" }, arguments = "[N]", help = "to the next op of the pass, into functions", where = debugger },
    { name = "next", aliases = { "n" }, arguments = "[N]", help = "to the next op of this function; called functions run whole", where = debugger },
    { name = "token", arguments = "[N]", help = "to the choice of the next token", where = debugger },
    { name = "continue", aliases = { "c" }, help = "to the next breakpoint, or to the end", where = debugger },
    { name = "break", aliases = { "b" }, arguments = "[WHAT]", help = "stop at a path, an op, or `where EXPR` is true; alone: the list", where = debugger,
      complete = paths },
    { name = "unbreak", arguments = "[N]", help = "take a breakpoint away; alone: all", where = debugger },
    { name = "locals", help = "the function's locals and what they hold", where = debugger },
    { name = "up", help = "look from the function that called this one", where = debugger },
    { name = "down", help = "back to the function that was called", where = debugger },
    { name = "where", help = "the functions that are running, and the source around", where = debugger },
    { name = "stops", help = "the stops of this pass so far", where = debugger },
    { name = "rewind", arguments = "[N]", help = "back to the stop before, or to stop N of this pass", where = debugger },
    { name = "fork", arguments = "[NAME|TOKENS]", help = "the cache before this pass; how the text goes on with other tokens", where = debugger },
    { name = "rivals", arguments = "[N]", help = "the likeliest tokens, before and after processors", where = debugger },
    { name = "choose", arguments = "TOKEN", help = "this token shall be the next: an id or a text", where = debugger },
    { name = "leave", help = "give the pass up", where = debugger },
  } },
}
