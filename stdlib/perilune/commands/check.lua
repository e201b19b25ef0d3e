-- perilune check: do the files of a model folder fit together?
local pl = require "perilune"
local command_line = require "perilune.command_line"

local check = {
  summary = "check a model folder: files, shapes, and that tokenizer and model belong together",
  usage = "perilune check MODEL… [--probe]",
  options = { probe = { help = "also score a fixed sentence, which a stranger's tokenizer betrays" } },
  help = "Exit status 1 when anything is wrong; warnings alone leave it 0.",
}

local function check_one(path, options)
  print(path)
  local m, err = pl.try(pl.load, path)
  if not m then
    print("  error    " .. tostring(err))
    return false
  end
  print(("  family   %s, head %s, %d positions, %d embedding rows"):format(m.family, m.head, m.max_tokens or 0, m.vocab_size))
  print("  weights  " .. command_line.bytes(m:memory().weights) .. ", every stored tensor read by the family")
  if m.tokenizer then
    print(("  tokens   %s, %d pieces, highest id %d"):format(m.tokenizer.kind, m.tokenizer.vocab_size, m.tokenizer.max_id))
  else
    print("  tokens   " .. tostring(m.tokenizer_reason) .. " (the model takes ids)")
  end
  local verdict = pl.check(m, m.tokenizer, { probe = options.probe or nil })
  local warnings = {}
  for _, list in ipairs { m.warnings, verdict.warnings } do
    for _, text in ipairs(list) do
      if not warnings[text] then
        warnings[text] = true
        print("  warning  " .. text)
      end
    end
  end
  for _, text in ipairs(verdict.errors) do print("  error    " .. text) end
  print(verdict.ok and "  ok" or "  not ok")
  m:close()
  return verdict.ok
end

function check.run(options, paths)
  if #paths == 0 then
    io.stderr:write("perilune check: name a model folder; usage: ", check.usage, "\n")
    return command_line.wrong_usage
  end
  local fine = true
  for _, path in ipairs(paths) do fine = check_one(path, options) and fine end
  return fine and command_line.ok or command_line.failed
end

return check
