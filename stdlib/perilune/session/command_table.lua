-- Every command of a session: what `:help` prints, what Tab offers, where it is done.
--
-- A row: { name = what follows the colon, aliases = other names or nil, arguments = "FILE" or nil, help = one line,
--   where = the module whose table has a function of that name: function(session, rest) → false to leave the session,
--   complete = what Tab offers after it: "file", "lua" (default), "command", "name" or function(typed) → words,
--   bare = true where `name` alone means it, too, while no variable is called so }
--
-- A new command is a row here and a function in its module. Names are never given a second meaning; a verb of the program
-- (:check MODEL) has its own name, unless a row's function passes it on.

local working = "perilune.session.working"

return {
  { title = "Finding out", rows = {
    { name = "help", aliases = { "?", "h" }, arguments = "[NAME]", help = "this list, or what a name does: a function, a topic, a command", where = working,
      complete = "name" },
    { name = "whos", help = "your names, what they hold, how many bytes on which device", where = working },
    { name = "trace", help = "where the last error came from", where = working },
  } },
  { title = "Working", rows = {
    { name = "time", arguments = "LUA", help = "run it and say how long it took", where = working },
    { name = "load", arguments = "FILE", help = "run a Lua file in this session", where = working, complete = "file" },
    { name = "quit", aliases = { "q", "exit" }, help = "leave; Ctrl-D, exit and quit do, too", where = working, bare = true },
  } },
}
