-- Text references held against tokenizers: JSON lines whose first line says what made the rest.
local pl = require "perilune"
local core = require "perilune.core"

local compare_text = {}

local function list_text(ids, limit)
  local words = {}
  for i = 1, math.min(#ids, limit) do words[i] = tostring(ids[i]) end
  return table.concat(words, " ") .. (#ids > limit and " …" or "")
end

local function same(a, b)
  if #a ~= #b then return false end
  for i = 1, #a do if a[i] ~= b[i] then return false end end
  return true
end

--- What is wrong with a list, or nil.
---@param what string
---@param ours integer[]
---@param theirs integer[]
---@return string|nil
function compare_text.list_problem(what, ours, theirs)
  if same(ours, theirs) then return nil end
  return ("%s: got %s, expected %s"):format(what, list_text(ours, 12), list_text(theirs, 12))
end

local list_problem = compare_text.list_problem

local function text_problem(what, ours, theirs)
  if theirs == nil or ours == theirs then return nil end
  return ("%s: got %q, expected %q"):format(what, ours:sub(1, 60), theirs:sub(1, 60))
end

-- How many characters begin before each byte: byte b (1-based) is in character count[b].
local function characters_before(text)
  local count, n = { [0] = 0 }, 0
  for i = 1, #text do
    local byte = text:byte(i)
    if byte < 0x80 or byte >= 0xC0 then n = n + 1 end
    count[i] = n
  end
  return count
end

-- Our spans as half-open code point offsets; what was put in has none.
-- Where the next character with a token begins. The published place of one that was put together ends with its
-- first letter; ours goes on to its end.
local function next_place(theirs, i, size)
  for k = i + 1, #theirs do
    if theirs[k][1] > theirs[i][1] then return theirs[k][1] end
  end
  return size
end

local function offsets_problem(tokens, text, theirs)
  local count = characters_before(text)
  for i, token in ipairs(tokens) do
    local first, last = 0, 0
    if token.first then
      first = token.last >= token.first and count[token.first] - 1 or count[token.first - 1]
      last = token.last >= token.first and count[token.last] or first
    end
    local want = theirs[i]
    local empty = first == last and want[1] == want[2]
    local composed = first == want[1] and last > want[2] and last <= next_place(theirs, i, count[#text])
    if not empty and not composed and (first ~= want[1] or last ~= want[2]) then
      return ("offsets of token %d: got [%d, %d), expected [%d, %d)"):format(i, first, last, want[1], want[2])
    end
  end
  return nil
end

-- A tokenizer.json with everything around it.
local function full_row(tokenizer, row)
  local ids = tokenizer:ids(row.text)
  local tokens, mask = tokenizer:tokens(row.text), {}
  for i, token in ipairs(tokens) do mask[i] = token.first and 0 or 1 end
  return list_problem("ids", ids, row.ids)
    or row.plain_ids and list_problem("plain ids", tokenizer:ids(row.text, { special = false }), row.plain_ids)
    or row.special and list_problem("special", mask, row.special)
    or row.offsets and offsets_problem(tokens, row.text, row.offsets)
    or text_problem("decoded", tokenizer:decode(row.ids), row.decoded)
    or text_problem("decoded with special tokens", tokenizer:decode(row.ids, { special = true }), row.decoded_all)
end

-- The vocabulary alone: nothing put in; for most kinds nothing recognised either.
local function plain_row(options)
  return function(tokenizer, row)
    return list_problem("ids", tokenizer:ids(row.text, options), row.ids)
      or text_problem("decoded", tokenizer:decode(row.ids), row.decoded)
  end
end

local function windows_problem(batch, cut)
  local expected = { cut.ids }
  for _, ids in ipairs(cut.overflow or {}) do expected[#expected + 1] = ids end
  for i, ids in ipairs(expected) do
    if i > batch.size then return ("truncation gave %d windows, expected %d"):format(batch.size, #expected) end
    local problem = list_problem(i == 1 and "truncated ids" or "window " .. i, batch:row(i).ids, ids)
    if problem then return problem end
  end
  if batch.size ~= #expected then return ("truncation gave %d windows, expected %d"):format(batch.size, #expected) end
  local types = batch:select({ 1 }).type_ids:tolist()
  return cut.type_ids and list_problem("truncated type ids", types, cut.type_ids)
end

local function pair_row(tokenizer, row)
  local input = { text = row.text, pair = row.pair }
  local batch, sequence = tokenizer:encode(input), {}
  for i, token in ipairs(tokenizer:tokens(input)) do
    sequence[i] = token.first == nil and -1 or (token.pair and 1 or 0)
  end
  local problem = list_problem("ids", batch:row(1).ids, row.ids)
    or row.type_ids and list_problem("type ids", batch.type_ids:tolist(), row.type_ids)
    or row.sequence and list_problem("sequence", sequence, row.sequence)
  if problem or not row.truncated then return problem end
  local cut = row.truncated
  local rows, err = pl.try(tokenizer.encode, tokenizer, input,
    { truncate = { to = cut.max_length, strategy = cut.strategy, stride = cut.stride, windows = true, side = cut.direction } })
  if cut.error then
    if rows == nil and err.message then return nil end
    return ("truncation gave %d rows, the reference fails: %s"):format(rows.size, cut.error)
  end
  if not rows then return "truncation: " .. tostring(err) end
  return windows_problem(rows, cut)
end

-- Chat templates need no tokenizer: the special tokens' spellings are in the row.
local function template_row(settings)
  local chat_template = require "perilune.chat.template"
  local sources = {}
  return function(row, line)
    local source, exact = row.source, chat_template.fields(line)
    if not source then
      source = sources[row.from]
      if not source then
        source = core.read_json(settings.data .. "/" .. row.from).chat_template
        sources[row.from] = source
      end
    end
    local text, err = pl.try(chat_template.render, source, exact.messages,
      { tools = exact.tools, add_generation_prompt = row.add_generation_prompt, special = chat_template.fields(exact.special) })
    if row.error then return text and "rendered where the reference fails: " .. row.error or nil end
    if not text then return tostring(err) end
    return text_problem("text", text, row.text)
  end
end

-- Runs `check` over rows, reports the first few that are off and counts the rest.
local function run_rows(lines, path, name, check, report)
  local bad = 0
  for i = 2, #lines do
    local row = core.json(lines[i], path .. ":" .. i)
    local ok, problem = pcall(check, row, lines[i])
    if not ok then problem = tostring(problem) end
    if problem then
      bad = bad + 1
      report.line("text", "row " .. i - 1, "OFF", bad <= 5 and problem or "differs too")
    end
  end
  if bad == 0 then report.line("text", name, "ok", #lines - 1 .. " rows equal") end
end

--- Lines of a file, without empty ones.
---@param path string
---@return string[]
function compare_text.lines(path)
  local lines = {}
  for line in (core.read_file(path) .. "\n"):gmatch "(.-)\r?\n" do
    if line ~= "" then lines[#lines + 1] = line end
  end
  return lines
end

-- How the rows of one file are checked: a function of a tokenizer and a row.
local function row_check(head, first)
  if first.pair ~= nil then return pair_row end
  if head.offsets then return full_row end
  if head.made_with:match "^sentencepiece" then return plain_row { special = false } end
  if head.tokenizer then return plain_row { special = false, recognize = false } end
  return nil
end

--- Compares one file of JSON lines.
---@param path string
---@param settings table { data= }
---@param report table
function compare_text.compare(path, settings, report)
  local lines = compare_text.lines(path)
  local head = core.json(lines[1] or "{}", path .. ":1")
  head.made_with = head.made_with or "?"
  local name = path:match "[^/]*$"
  local where = { data = settings.data or path:gsub("[^/]*$", "") .. "../../data" }
  local first = core.json(lines[2] or "{}", path .. ":2")
  if first.messages then return run_rows(lines, path, name, template_row(where), report) end
  if first.task then
    local models = settings.models or path:gsub("[^/]*$", "") .. "../models"
    return run_rows(lines, path, name, require("perilune.compare.pipelines").check(models), report)
  end
  local check = row_check(head, first)
  if not check then
    return report.line("text", name, "skip", (#lines - 1) .. " rows; this kind (" .. head.made_with .. ") is not understood yet")
  end
  local tokenizer, err = pl.try(pl.tokenizer, where.data .. "/" .. head.tokenizer, head.pattern and { pattern = head.pattern } or nil)
  if not tokenizer then
    return report.line("text", head.tokenizer, err.code == "unsupported" and "skip" or "OFF", tostring(err))
  end
  run_rows(lines, path, head.tokenizer, function(row) return check(tokenizer, row) end, report)
end

return compare_text
