-- perilune lengths: how long the lines of a file are in tokens, and what padding them would waste.
local pl = require "perilune"
local core = require "perilune.core"
local command_line = require "perilune.program.command_line"

local lengths = {
  summary = "percentiles of a text file's token counts, and buckets that would suit it",
  usage = "perilune lengths FILE… --tokenizer PATH [options]",
  options = {
    tokenizer = { value = "PATH", help = "a model folder, a known model's name or a tokenizer's file" },
    field = { value = "NAME", help = "lines are JSON objects; the text is this field" },
    buckets = { value = "N", number = true, help = "how many buckets to suggest (default 4)" },
    max = { value = "N", number = true, help = "how many texts a maximum length of N would cut" },
    json = { help = "numbers only, as JSON" },
  },
  help = "Each line is a text; empty lines are passed over. \"-\" reads standard input. Padding is what a padded\n"
    .. "batch computes for nothing; this engine's own batches are ragged and compute none of it.",
}

local function texts_of(paths, field)
  local index, lines, number = 0, nil, 0
  local function next_line()
    while true do
      if not lines then
        index, number = index + 1, 0
        local path = paths[index]
        if not path then return nil end
        if path == "-" then
          lines = io.lines()
        else
          if not core.file_exists(path) then core.error { code = "file", op = "lengths", message = "no file " .. path } end
          lines = io.lines(path)
        end
      end
      local line = lines()
      if line then
        number = number + 1
        return line, paths[index] .. ":" .. number
      end
      lines = nil
    end
  end
  return function()
    while true do
      local line, place = next_line()
      if not line then return nil end
      line = line:gsub("\r$", "")
      if line ~= "" then
        if not field then return line end
        local value = core.json(line, place)[field]
        if type(value) ~= "string" then
          core.error { code = "format", op = "lengths", message = ("%s: the field %s is no text"):format(place, field) }
        end
        return value
      end
    end
  end
end

-- Twelve rows of lengths with a bar each.
local function picture(r)
  local width, rows, most = math.max(1, math.ceil(r.max / 12)), {}, 1
  for length, count in pairs(r.histogram) do
    local row = math.max(1, math.ceil(length / width))
    rows[row] = (rows[row] or 0) + count
    most = math.max(most, rows[row])
  end
  for row = 1, math.ceil(r.max / width) do
    local count = rows[row] or 0
    print(("  %6d to %-6d %s %d"):format((row - 1) * width + 1, row * width, ("#"):rep(math.ceil(40 * count / most)), count))
  end
end

local function percent(share) return ("%.1f %%"):format(100 * share) end

local function cut_by(r, limit)
  local texts, tokens = 0, 0
  for length, count in pairs(r.histogram) do
    if length > limit then texts, tokens = texts + count, tokens + count * (length - limit) end
  end
  return texts, tokens
end

local function report(r, limit)
  print(("%d texts, %d tokens, %.1f on average"):format(r.count, r.total, r.mean))
  picture(r)
  print(("half have at most %d tokens, 90 %% at most %d, 99 %% at most %d, the longest has %d"):format(r.p50, r.p90, r.p99, r.max))
  print(("padded to the longest: %s is padding"):format(percent(r.waste())))
  print(("padded to buckets of %s: %s is padding"):format(table.concat(r.buckets, ", "), percent(r.waste(r.buckets))))
  print "ragged: none is"
  for _, at in ipairs(limit and limit ~= r.suggested and { r.suggested, limit } or { r.suggested }) do
    local texts, tokens = cut_by(r, at)
    print(("%sa maximum length of %d would cut %d texts (%s) and lose %d tokens (%s)"):format(at == r.suggested and "suggested: " or "", at,
      texts, percent(texts / r.count), tokens, percent(tokens / math.max(1, r.total))))
  end
end

-- The positions of the model that a path or name stands for; nil for a tokenizer by itself.
local function positions(path)
  local fine, s = pcall(require("perilune.load").prepare, path, {}, "lengths")
  if not fine then return nil end
  s.checkpoint:close()
  return s.c.max_tokens
end

function lengths.run(options, paths)
  if #paths == 0 or not options.tokenizer then
    return command_line.misused(lengths, #paths == 0 and "name a FILE" or "say whose tokenizer: --tokenizer PATH")
  end
  local tokenizer = pl.tokenizer(options.tokenizer)
  local most = positions(options.tokenizer)
  local r, err = pl.try(pl.lengths, texts_of(paths, options.field), tokenizer, { buckets = options.buckets, max_tokens = most })
  if not r then return command_line.report(err) end
  if options.json then
    local padded, bucketed = r.waste(), r.waste(r.buckets)
    r.waste = nil
    r.waste_padded, r.waste_buckets = padded, bucketed
    if options.max then
      local texts, tokens = cut_by(r, options.max)
      r.cut = { max = options.max, texts = texts, tokens = tokens }
    end
    r.histogram = nil
    print(core.write_json(r))
  else
    report(r, options.max)
  end
  return command_line.ok
end

return lengths
