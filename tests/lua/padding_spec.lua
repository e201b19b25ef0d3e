-- Left-padded, right-padded and ragged give the same bits, and NaNs planted in padding never reach a
-- result: every family, every head, every result of a pass, every form of its input (padding_support.lua).
local pl = require "perilune"
local t = require "spec"
local forms = require "padded_forms"
local planted = require "planted"
local padding = require "padding_support"

-- Everything a pass gives, by name; `encoder` marks those that go by the source's rows.
local function results(m, input, decoder)
  local plain = m:forward(input, { decoder = decoder, rows = "all" })
  local outputs = { "hidden_states", "last_hidden_state" }
  for name in pairs(plain) do
    if name ~= "batch" and name ~= "last_hidden_state" then outputs[#outputs + 1] = name end
  end
  if decoder then outputs[#outputs + 1] = "encoder_hidden_states" end
  local out, list = m:forward(input, { decoder = decoder, rows = "all", outputs = outputs }), {}
  for _, name in ipairs(outputs) do
    local encoder = name:find "^encoder" ~= nil
    if name:find "hidden_states" then
      for i, x in ipairs(out[name]) do list[#list + 1] = { name = name .. " " .. i, value = x, encoder = encoder } end
    else
      list[#list + 1] = { name = name, value = padding.cut(m, name, out[name]), encoder = encoder }
    end
  end
  return list
end

-- Every row by itself: what all others are held against.
local function each_alone(m, rows, types, decoders)
  local alone = {}
  for i, row in ipairs(rows) do
    alone[i] = results(m, pl.batch({ row }, { type_ids = types and { types[i] } }), decoders and { decoders[i] })
    t.ok(#alone[i] >= 3)
    for _, result in ipairs(alone[i]) do t.ok(not result.value:has_nan(), result.name .. " has NaN alone") end
  end
  return alone
end

-- One row by itself in the shape that a row of many has.
local function own(value)
  return value.shape[1].name == "batch" and value:at { batch = 1 } or value
end

-- Holds the answers to one form against every row alone. `at[i]`: which row of the form is row i.
local function hold(m, alone, form, decoders, source_lengths, at)
  local decoder, decoder_first, own_lengths = decoders and decoders.input, decoders and decoders.first, decoders and decoders.lengths
  for k, result in ipairs(results(m, form.input, decoder)) do
    local first = form.first
    local counts = source_lengths
    if decoders and not result.encoder then first, counts = decoder_first, own_lengths end
    for i = 1, #alone do
      local place = at and at[i] or i
      local one = forms.row(result.value, place, counts, first)
      if not own(alone[i][k].value):equal(one) then
        error(("%s: %s of row %d differs from the row alone"):format(form.name, result.name, i), 2)
      end
      if not forms.clean(result.value, place, counts, first) then
        error(("%s: %s of row %d is not zero in padding"):format(form.name, result.name, i), 2)
      end
    end
  end
end

local function forward_forms(m, encoder)
  local rows = padding.random_rows(m, padding.lengths)
  local types = padding.random_types(m, rows)
  local decoder_rows = encoder and padding.random_rows(m, { 3, 1, 20, 2, 9, 33, 4 }) or nil
  local alone = each_alone(m, rows, types, decoder_rows)
  local batch, counts = pl.batch(rows, { type_ids = types }), padding.lengths_of(rows)
  padding.poison(m, encoder)
  local given = encoder and { input = decoder_rows, lengths = padding.lengths_of(decoder_rows) } or nil
  for n, form in ipairs(forms.all(batch)) do
    if not (form.untyped and types) then
      hold(m, alone, form, given, counts)
      if n % 4 == 1 then padding.poison(m, encoder) end
    end
  end
  if encoder then   -- the decoder's rows in every form
    for _, form in ipairs(forms.all(pl.batch(decoder_rows))) do
      hold(m, alone, { name = "source right, decoder " .. form.name, input = batch:padded { side = "right", pad_id = 0 },
        first = { 0, 0, 0, 0, 0, 0, 0 } }, { input = form.input, first = form.first, lengths = given.lengths }, counts)
    end
  end
  -- Rows of NaN between the others.
  local mixed, mixed_types, mixed_decoders, at = {}, types and {}, decoder_rows and {}, {}
  for i, row in ipairs(rows) do
    mixed[2 * i - 1], mixed[2 * i], at[i] = padding.nans(#row + 3), row, 2 * i
    if types then mixed_types[2 * i - 1], mixed_types[2 * i] = padding.nans(#row + 3), types[i] end
    if decoder_rows then mixed_decoders[2 * i - 1], mixed_decoders[2 * i] = padding.nans(7), decoder_rows[i] end
  end
  local mixed_given = decoder_rows and { input = mixed_decoders, lengths = padding.lengths_of(mixed_decoders) }
  hold(m, alone, { name = "among rows of NaN", input = pl.batch(mixed, { type_ids = mixed_types }) }, mixed_given, padding.lengths_of(mixed), at)
  -- The same rows without a plan, line by line.
  if not planted.always_tied[m.family] or m.head ~= "seq2seq" then
    hold(m:eager(), alone, { name = "eager, among rows of NaN", input = pl.batch(mixed, { type_ids = mixed_types }) }, mixed_given,
      padding.lengths_of(mixed), at)
  end
end

local function through_engine(m, encoder)
  local rows, decoder = padding.random_rows(m, padding.lengths), encoder and { 7, 9, 2 } or nil
  local alone = {}
  for i, row in ipairs(rows) do alone[i] = m:forward({ row }, { decoder = decoder, rows = m.head == "causal" and "last" or nil }) end
  for _, policy in ipairs(padding.policies) do
    padding.poison(m, encoder)
    local e, lines = pl.engine(m, { policy = policy[2] }), {}
    for i, row in ipairs(rows) do
      e:submit(padding.nans(#row + 5), { kind = "forward", decoder = decoder })
      lines[i] = e:submit(row, { kind = "forward", decoder = decoder })
    end
    e:drain()
    for i, line in ipairs(lines) do
      local compared = 0
      for name, value in pairs(line:result().outputs) do
        t.ok(padding.cut(m, name, value):equal(padding.cut(m, name, alone[i][name])), ("engine, %s: %s of row %d"):format(policy[1], name, i))
        compared = compared + 1
      end
      t.ok(compared > 0)
    end
    e:close()
  end
end

local function embeddings(m)
  local rows = padding.random_rows(m, padding.lengths)
  local types = padding.random_types(m, rows)
  local batch, poolings = pl.batch(rows, { type_ids = types }), { "mean", "cls", "last", "max" }
  if m:forward({ rows[1] }).pooled then poolings[5] = "pooled" end
  for _, pooling in ipairs(poolings) do
    for _, normalize in ipairs { false, true } do
      local how, alone = { pooling = pooling, normalize = normalize }, {}
      for i, row in ipairs(rows) do
        alone[i] = m:embed(pl.batch({ row }, { type_ids = types and { types[i] } }), how):at { batch = 1 }
        t.ok(not alone[i]:has_nan())
      end
      for _, form in ipairs(forms.all(batch)) do
        if not (form.untyped and types) then
          local all = m:embed(form.input, how)
          for i = 1, #rows do t.ok(all:at { batch = i }:equal(alone[i]), ("%s, pooling %s, row %d"):format(form.name, pooling, i)) end
        end
      end
    end
  end
end

local function attention_weights(m)
  local rows = padding.random_rows(m, padding.lengths)
  local path, alone = "layers.0.attention.weights", {}
  for i, row in ipairs(rows) do alone[i] = m:trace({ row }, path)[path] end
  for _, form in ipairs(forms.all(pl.batch(rows))) do
    if form.first and not form.name:find "rubbish" then
      local weights = m:trace(form.input, path)[path]
      t.ok(not weights:has_nan(), form.name)
      for i, row in ipairs(rows) do
        local columns = { form.first[i] + 1, form.first[i] + #row }
        local mine = weights:at { batch = i, query = columns, key = columns }
        t.ok(mine:equal(alone[i]:rename { token = "query" }:order("head", "query", "key")), ("%s, weights of row %d"):format(form.name, i))
      end
    end
  end
end

padding.each_model(function(test, model)
  local encoder = model.encoder
  test("forward in every form", function(m) forward_forms(m, encoder) end)
  test("forward through engines", function(m) through_engine(m, encoder) end)
  test("embeddings", embeddings)
  if not encoder then test("attention weights", attention_weights) end
end)
