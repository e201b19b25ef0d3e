-- perilune doctor: a model looked at symptom by symptom.
local pl = require "perilune"
local core = require "perilune.core"
local command_line = require "perilune.program.command_line"
local examinations = require "perilune.program.doctor"

local doctor = {
  summary = "look at a model symptom by symptom: NaN, same answers, repetition, cut texts, padding, slow, memory",
  usage = "perilune doctor MODEL [options]",
  options = {
    tokenizer = { value = "PATH", help = "with this tokenizer instead of the model's own" },
    threads = { value = "N", number = true, help = "threads, as the program that is slow has them" },
    device = { value = "NAME", help = "auto, cpu, cuda, emulator" },
    json = { help = "the findings as JSON" },
  },
  help = "Each finding says what was looked at, what it means and what to do. Exit status 1 when there is a problem.",
}

local marks = { ok = "ok  ", note = "note", problem = "!!  " }

function doctor.run(options, paths)
  if #paths ~= 1 then
    return command_line.misused(doctor, "name one model")
  end
  pl.on_warning(function() end)   -- the findings have them
  local m, err = pl.try(pl.load, paths[1], { tokenizer = options.tokenizer, threads = options.threads, device = options.device })
  if not m then
    local status = type(err) == "table" and err.code == "option" and command_line.wrong_usage or command_line.failed
    if status == command_line.wrong_usage or core.interrupted() then return command_line.report(err) end
    print("!!   it does not load: " .. tostring(err))
    return status
  end
  local list, problems = examinations.examine(m), 0
  for _, finding in ipairs(list) do
    if finding.level == "problem" then problems = problems + 1 end
    if not options.json then
      print(("%s %s"):format(marks[finding.level], finding.title))
      print(("       looked at %s: %s"):format(finding.looked, finding.means))
      if finding.todo then print("       what to do: " .. finding.todo) end
    end
  end
  if options.json then print(core.write_json(core.array(list))) end
  m:close()
  return problems > 0 and command_line.failed or command_line.ok
end

return doctor
