-- Commands that say how long something takes. Every op has ended, on a GPU too, when its call returns.
local core = require "perilune.core"
local percentiles = require "perilune.base.percentiles"
local commands = require "perilune.session.session_commands"
local catalogue = require "perilune.loaded.catalogue"

local measuring = {}

local bench_seconds, most_runs, least_runs = 1, 10000, 3

local function time_text(seconds)
  if seconds >= 1 then return ("%.3f s"):format(seconds) end
  return seconds >= 1e-3 and ("%.3f ms"):format(1e3 * seconds) or ("%.3f µs"):format(1e6 * seconds)
end

-- What was typed as a function and whether it is mute, or nil after the report of what is wrong.
local function compiled(session, text, name)
  if text == "" then
    session:report { value = name .. " needs something to run: :" .. name .. " LUA", trace = "" }
    return nil
  end
  local chunk, problem, muted = session:compile(text)
  if not chunk then session:report { value = problem, trace = "" } end
  return chunk, muted
end

function measuring.time(session, rest)
  local chunk, muted = compiled(session, rest, "time")
  if not chunk then return end
  local start = core.clock()
  session:run(chunk, muted)
  print(("%.3f ms"):format(1000 * (core.clock() - start)))
end

-- What is measured by the verb of the same name: a model's name or its files.
local function is_model(rest)
  local word = commands.words(rest)[1]
  return word and (word:find "^%-%-" or catalogue.entries[word] or core.folder_exists(word) or core.file_exists(word))
end

function measuring.bench(session, rest)
  if is_model(rest) then return commands.run_verb("bench", rest) end
  local chunk = compiled(session, rest, "bench")
  if not chunk then return end
  local times = {}
  local fine = session:try(function()
    chunk()  -- once for what is made at first
    local begun = core.clock()
    repeat
      local start = core.clock()
      chunk()
      local stop = core.clock()
      times[#times + 1] = stop - start
    until #times >= most_runs or (stop - begun >= bench_seconds and #times >= least_runs)
  end)
  if not fine then return end
  table.sort(times)
  print(("median %s of %d runs (least %s, 90 %% within %s)"):format(time_text(percentiles.at(times, 0.5)), #times, time_text(times[1]),
    time_text(percentiles.at(times, 0.9))))
end

return measuring
