-- The table of docs/preflight.md: models × tokenizers, what the probe saw and what it says.
--   perilune tests/faults/preflight_table.lua MODEL… [--tokenizers PATH…] [--write]
-- Models are folders or names that `perilune get` knows; each is held against its own tokenizer, against its
-- own with ids that changed places or moved by one, and against every other whose ids have rows. The other
-- models' tokenizers count among those. --write puts the table into docs/preflight.md.
package.path = "tests/lua/?.lua;" .. package.path
local pl = require "perilune"
local core = require "perilune.core"
local folder_of = require "folder_of"

local page, first_mark, last_mark = "docs/preflight.md", "<!-- table: made by tests/faults/preflight_table.lua -->", "<!-- end of the table -->"

local function read_arguments()
  local models, tokenizers, write = {}, {}, false
  local into = models
  for _, word in ipairs(arg) do
    if word == "--tokenizers" then into = tokenizers elseif word == "--write" then write = true else into[#into + 1] = word end
  end
  if #models == 0 then
    models = { "scripts/models/tales", "scripts/models/reviews", "smollm2", "minilm", "tests/golden/llama-gqa", "tests/golden/bert-base" }
  end
  return models, tokenizers, write
end

-- The last folder of a path, before the name of a tokenizer's file.
local function name_of(path) return (path:gsub("/tokenizer%.[%w.]+$", ""):gsub("/+$", ""):match "[^/]+$") end

-- Ids of a vocabulary by a map of the ordinary ones: places → places.
local function moved(count, by)
  local map = {}
  for i = 0, count - 1 do map[i] = (i + by) % count end
  return map
end

local function permuted(count)
  local map, state = moved(count, 0), 7
  for i = count - 1, 1, -1 do
    state = (state * 16807) % 2147483647
    local j = state % (i + 1)
    map[i], map[j] = map[j], map[i]
  end
  return map
end

-- vocab.json and merges.txt of a byte-level vocabulary, its ordinary ids by a map.
local function byte_level(pieces, ordinary, merges, map)
  local vocab = {}
  for place, id in ipairs(ordinary) do vocab[pieces[id]] = ordinary[map[place - 1] + 1] end
  for id, piece in pairs(pieces) do if vocab[piece] == nil then vocab[piece] = id end end
  return { ["vocab.json"] = core.write_json(vocab), ["merges.txt"] = "#version: 0.2\n" .. table.concat(merges, "\n") .. "\n" }
end

-- The strings of an array in a GGUF file's metadata: after the key its type (4 bytes), the entries' type (4) and
-- their number (8), then each with its length (8).
local function gguf_strings(bytes, key)
  local at = assert(select(2, bytes:find(key, 1, true)), key) + 1
  local function number(from)
    local a, b, c, d = bytes:byte(from, from + 3)
    return a + 256 * (b + 256 * (c + 256 * d))
  end
  local list, from = {}, at + 16
  for i = 1, number(at + 8) do
    local length = number(from)
    list[i], from = bytes:sub(from + 8, from + 7 + length), from + 8 + length
  end
  return list
end

local function from_gguf(tokenizer, make)
  local file = assert(io.open(tokenizer.path, "rb"))
  local bytes = file:read(8 * 2 ^ 20)   -- metadata comes first
  file:close()
  local pieces, ordinary = {}, {}
  for i, piece in ipairs(gguf_strings(bytes, "tokenizer.ggml.tokens")) do
    pieces[i - 1] = piece
    if not tokenizer:is_special(i - 1) then ordinary[#ordinary + 1] = i - 1 end
  end
  return byte_level(pieces, ordinary, gguf_strings(bytes, "tokenizer.ggml.merges"), make(#ordinary))
end

-- A tokenizer.json with its ordinary ids by a map.
local function from_json(path, make)
  local json = core.read_json(path)
  local fixed, vocab = {}, json.model.vocab
  for _, token in ipairs(json.added_tokens or {}) do fixed[token.content] = true end
  local list = vocab[1] ~= nil   -- Unigram: a list of pieces with their scores
  local ordinary, ids = {}, {}
  for piece, id in pairs(vocab) do
    if list then piece, id = id[1], piece end
    if not fixed[piece] then ordinary[#ordinary + 1] = { piece = piece, id = id } end
  end
  table.sort(ordinary, function(a, b) return a.id < b.id end)
  for i, one in ipairs(ordinary) do ids[i] = one.id end
  local map, old = make(#ordinary), {}
  for i, one in ipairs(ordinary) do old[i] = vocab[list and one.id or one.piece] end
  for i, one in ipairs(ordinary) do
    local to = ids[map[i - 1] + 1]
    if list then vocab[to] = old[i] else vocab[one.piece] = to end
  end
  return { ["tokenizer.json"] = core.write_json(json) }
end

-- Files of the same tokenizer with other ids, where its own can be rewritten.
local function changed(tokenizer, make)
  local path = tokenizer.path
  if path:find "%.gguf$" then return from_gguf(tokenizer, make) end
  if path:find "%.json$" then return from_json(path, make) end
  if path:find "vocab%.txt$" and make == permuted then return { ["vocab.txt"] = folder_of.shuffled_lines(core.read_file(path), 5) } end
  if path:find "%.model$" and make == permuted then return { ["tokenizer.model"] = folder_of.shuffled_pieces(core.read_file(path)) } end
end

-- { name=, tokenizer= } of a model: its own, then strangers.
local function candidates(m, others)
  local list = { { name = "its own", tokenizer = m.tokenizer } }
  for name, make in pairs { ["its own, ids shuffled"] = permuted, ["its own, ids moved by one"] = function(n) return moved(n, 1) end } do
    local files = changed(m.tokenizer, make)
    if files then
      for _, file in ipairs { "model.safetensors", "tokenizer.json", "tokenizer.model", "vocab.txt", "special_tokens_map.json" } do
        files[file] = files[file] or false
      end
      local gguf = m.path:find "%.gguf$"
      if gguf then files["tokenizer_config.json"] = '{ "tokenizer_class": "GPT2Tokenizer" }' end
      local folder = folder_of.copy(gguf and "tests/golden/llama-gqa" or m.path, files)
      list[#list + 1] = { name = name, tokenizer = pl.tokenizer(folder) }
    end
  end
  table.sort(list, function(a, b) return a.name < b.name end)
  for _, other in ipairs(others) do
    if not other.tokenizer:same_vocabulary(m.tokenizer) then list[#list + 1] = other end
  end
  return list
end

local function fit(f) return f and f.count > 0 and ("%.2f (%d, z %d)"):format(f.auc, f.count, math.floor(f.z + 0.5)) or "" end

local function row(model, name, p)
  return { model, name, fit(p.related), fit(p.alike), fit(p.everyday), fit(p.scores), p.answers and p.answers.right
    and ("%d of %d"):format(p.answers.right, p.answers.judged) or p.written and ("%.0f %% / %.0f %%"):format(100 * p.written.own,
    100 * p.written.chance) or "", p.verdict }
end

local function main()
  local paths, extra, write = read_arguments()
  pl.on_warning(nil)
  local models, others = {}, {}
  local function add_other(name, tokenizer)
    for _, other in ipairs(others) do
      if other.tokenizer:same_vocabulary(tokenizer) then return end
    end
    others[#others + 1] = { name = name, tokenizer = tokenizer }
  end
  for _, path in ipairs(paths) do
    local m, err = pl.try(pl.load, path, { compute = "f32" })
    if m and m.tokenizer then
      models[#models + 1] = { name = name_of(path), model = m }
      add_other(name_of(path), m.tokenizer)
    else
      io.stderr:write("left out: ", path, ": ", tostring(err or m.tokenizer_reason), "\n")
    end
  end
  for _, path in ipairs(extra) do add_other(name_of(path), pl.tokenizer(path)) end
  local lines = { "| model | tokenizer | related pieces | words of one kind | everyday words | scores | praise / written | verdict |",
    "|---|---|---|---|---|---|---|---|" }
  for _, one in ipairs(models) do
    local refused, model = {}, one.name .. ", " .. one.model.head
    local function add(cells)
      lines[#lines + 1] = "| " .. table.concat(cells, " | ") .. " |"
      io.stderr:write(lines[#lines], "\n")
    end
    for _, candidate in ipairs(candidates(one.model, others)) do
      local verdict = pl.check(one.model, candidate.tokenizer, { probe = true })
      if verdict.probe then add(row(model, candidate.name, verdict.probe)) else refused[#refused + 1] = candidate.name end
    end
    if #refused > 0 then add { model, table.concat(refused, ", "), "", "", "", "", "", "refused: ids without a row" } end
  end
  folder_of.remove_all()
  local text = table.concat(lines, "\n")
  if not write then return print(text) end
  local old = core.read_file(page)
  local from, to = assert(select(2, old:find(first_mark, 1, true))), assert(old:find(last_mark, 1, true))
  core.write_file(page, old:sub(1, from) .. "\n" .. text .. "\n" .. old:sub(to))
end

main()
