-- perilune check: do the files of a model folder fit together, and are they what they were?
local pl = require "perilune"
local core = require "perilune.core"
local lock = require "perilune.program.lock"
local command_line = require "perilune.program.command_line"
local byte_count = require "perilune.base.byte_count"
local progress = require "perilune.base.progress"

local check = {
  summary = "check a model folder: files, shapes, that tokenizer and model belong together, the lock",
  usage = "perilune check MODEL… [--probe] [--tokenizer PATH] [--lock FILE] [--json]",
  options = {
    probe = { help = "also look at answers and embedding, which a stranger's tokenizer betrays" },
    tokenizer = { value = "PATH", help = "is this its tokenizer? (held against the model's own and, as with --probe, its weights)" },
    lock = { value = "FILE", help = "the lock to compare with (default: MODEL/" .. lock.name .. " where it is there)" },
    json = { help = "machine-readable" },
  },
  help = "Exit status 1 when anything is wrong, the tokenizer is a stranger's or something differs from the lock; warnings alone leave it 0.",
}

-- The model with its own tokenizer; where that one does not fit and another is asked about, with none.
local function load_model(path, other)
  local m, err = pl.try(pl.load, path, { compute = "f32" })
  if not m and other and err.code == "pairing" then return pl.try(pl.load, path, { compute = "f32", tokenizer = false }) end
  return m, err
end

local function facts(m, tokenizer, report)
  report.family, report.head, report.positions, report.embedding_rows = m.family, m.head, m.max_tokens, m.vocab_size
  report.weights_bytes = m:memory().weights
  local c = rawget(m, "state_").c
  if c.axes.channel then
    report.pictures = { channels = c.axes.channel, height = c.axes.height, width = c.axes.width, patches = c.grid and c.grid.rows * c.grid.columns }
  end
  if tokenizer then
    report.tokenizer = { kind = tokenizer.kind, pieces = tokenizer.vocab_size, highest_id = tokenizer.max_id, path = tokenizer.path }
  else
    report.no_tokenizer = tostring(m.tokenizer_reason)
  end
end

local function compare_lock(m, options, report)
  local from = options.lock or lock.path_of(m)
  if not options.lock and not core.file_exists(from) then return end
  local before, err = pl.try(lock.read, from)
  if not before then
    table.insert(report.errors, tostring(err))
    return
  end
  report.lock = from
  progress.note "comparing with the lock"
  report.changed = core.array(lock.compare(before, m))
  for _, text in ipairs(lock.engine_notes(before, m)) do table.insert(report.notes, text) end
  for _, text in ipairs(report.changed) do table.insert(report.errors, "changed since the lock: " .. text) end
end

-- { path=, ok=, errors=, warnings=, notes=, … }
local function look(path, options)
  local report = { path = path, errors = core.array {}, warnings = core.array {}, notes = core.array {} }
  local other, m, err
  if options.tokenizer then other, err = pl.try(pl.tokenizer, options.tokenizer) end
  if not err then m, err = load_model(path, other) end
  if not m then
    command_line.pass_interrupt(err)
    report.errors[1] = tostring(err)
    report.ok = false
    return report
  end
  facts(m, other or m.tokenizer, report)
  local verdict, seen = pl.check(m, other, { probe = (options.probe or other ~= nil) or nil }), {}
  report.probe = verdict.probe and verdict.probe.verdict
  for _, list in ipairs { m.warnings, verdict.warnings } do
    for _, text in ipairs(list) do
      if not seen[text] then
        seen[text] = true
        table.insert(report.warnings, text)
      end
    end
  end
  for _, text in ipairs(verdict.notes) do table.insert(report.notes, text) end
  for _, text in ipairs(verdict.errors) do table.insert(report.errors, text) end
  compare_lock(m, options, report)
  progress.note(nil)
  m:close()
  report.ok = #report.errors == 0
  return report
end

local function show(report)
  print(report.path)
  if report.family then
    print(("  family   %s, head %s, %s positions, %d embedding rows"):format(report.family, report.head,
      tostring(report.positions or "any number of"), report.embedding_rows))
    local seen = report.pictures
    if seen then print(("  pictures %d by %d pixels, %d channels, %s patches"):format(seen.width, seen.height, seen.channels, tostring(seen.patches))) end
    print("  weights  " .. byte_count.text(report.weights_bytes) .. ", every stored tensor read by the family")
    local tokens = report.tokenizer
    print("  tokens   " .. (tokens and ("%s, %d pieces, highest id %d"):format(tokens.kind, tokens.pieces, tokens.highest_id)
      or report.embedding_rows == 0 and "none: the model reads pictures" or report.no_tokenizer .. " (the model takes ids)"))
  end
  if report.lock then print(("  lock     %s: %s"):format(report.lock, report.changed and #report.changed == 0 and "nothing changed" or "differs")) end
  for _, text in ipairs(report.notes) do print("  note     " .. text) end
  for _, text in ipairs(report.warnings) do print("  warning  " .. text) end
  for _, text in ipairs(report.errors) do print("  error    " .. text) end
  print(report.ok and "  ok" or "  not ok")
end

function check.run(options, paths)
  if #paths == 0 then
    return command_line.misused(check, "name a model folder")
  end
  pl.on_warning(function() end)   -- the reports have them
  local fine, reports = true, core.array {}
  for i, path in ipairs(paths) do
    reports[i] = look(path, options)
    fine = reports[i].ok and fine
    if not options.json then show(reports[i]) end
  end
  if options.json then print(core.write_json(#reports == 1 and reports[1] or reports)) end
  return fine and command_line.ok or command_line.failed
end

return check
