-- Truncation: nothing is lost silently, windows lead back to their text.
local pl = require "perilune"
local t = require "spec"

local tok = pl.tokenizer "scripts/models/tales"
local text = "Once upon a time there was a little dragon who lived by the sea"
local pair = "The end"
local function ids(given) return tok:ids(given, { special = false }) end

local function strings(row, source)
  local parts = {}
  for i, token in ipairs(row.tokens()) do parts[i] = token.first and source:sub(token.first, token.last) or "<" .. token.piece .. ">" end
  return parts
end

t.test("what is lost is said: in the batch, in the row, in print", function()
  local whole = #tok:ids(text)
  local cut = tok:encode({ text, "x" }, { truncate = { to = 5 } })
  t.equal({ cut.lengths[1], cut.lost, cut:row(1).lost, cut:row(2).lost }, { 5, { whole - 5, 0 }, whole - 5, 0 })
  local printed = tostring(cut)
  t.ok(printed:find((", %d lost to truncation"):format(whole - 5), 1, true), printed)
  t.ok(printed:find(("1 (5, %d lost)"):format(whole - 5), 1, true), printed)
  t.ok(not tostring(tok:encode(text)):find "lost")
  t.equal(cut:select({ 2, 1 }).lost, { 0, whole - 5 })
  local windows = tok:encode(text, { truncate = { to = 5, windows = true } })
  t.equal(windows:row(1).lost, 0)
  t.ok(not tostring(windows):find "lost")
  local pairs_cut = tok:encode({ text = text, pair = pair }, { truncate = { to = 8 } })
  t.equal(pairs_cut.lost[1], #tok:encode({ text = text, pair = pair }):row(1).ids - 8)
end)

t.test("windows lead back to their texts: input, first token, bytes", function()
  for _, side in ipairs { "right", "left" } do
    local b = tok:encode({ "x", text }, { truncate = { to = 6, stride = 2, windows = true, side = side } })
    local all, seen = ids(text), {}
    t.equal({ b.windows[1], b.windows[2], b.windows[b.size] }, { 1, 2, 2 })
    for i, row in b:rows() do
      local source = b.windows[i] == 1 and "x" or text
      local tokens, at = row.tokens(), row.first_token - 1
      for _, token in ipairs(tokens) do
        if token.first and b.windows[i] == 2 then
          at = at + 1
          t.equal(token.id, all[at], side)
          seen[at] = source:sub(token.first, token.last)
        end
      end
      t.equal(#tokens, row.length)
    end
    for at = 1, #all do t.ok(seen[at], ("%s: token %d is in no window"):format(side, at)) end
    t.equal(table.concat(seen), text)
    t.equal(strings(b:row(2), text)[1], "<<s>>")
    t.equal(b:row(2).first_token, side == "right" and 1 or #all - 4)
    t.equal(b:select({ 3 }):row(1).first_token, b:row(3).first_token)
  end
end)

t.test("windows of a pair: where each begins in both texts", function()
  local first, second = #ids(text), #ids(pair)
  local b = tok:encode({ text = text, pair = pair }, { truncate = { to = 9, stride = 1, windows = true, strategy = "only_first" } })
  t.ok(b.size > 1)
  local last = b:row(b.size)
  local begins, room = last.first_token, 0
  for _, token in ipairs(last.tokens()) do
    if token.first and not token.pair then
      room = room + 1
      t.ok(token.last <= #text)
    end
  end
  t.equal({ begins + room - 1, last.pair_first_token }, { first, 1 })
  local other = tok:encode({ text = pair, pair = text }, { truncate = { to = 9, windows = true, strategy = "only_second" } })
  t.equal({ other:row(2).first_token, other:row(2).pair_first_token > 1 }, { 1, true })
  t.equal(tok:encode("x"):row(1).pair_first_token, nil)
  t.ok(second < first)
end)

t.test("a stride that no text can be cut with is told at once", function()
  t.raises_text(function() tok:encode("x", { truncate = { to = 4, stride = 4 } }) end, "stride", "4", "row of 4")
  t.raises_text(function() tok:encode(text, { truncate = { to = 4, stride = 3 } }) end, "stride 3", "less than the 3")
  t.raises_text(function() tok:encode("x", { truncate = { to = 4, stride = -1 } }) end, "stride")
  t.raises_text(function() tok:ids(text, { truncate = { to = 6, windows = true } }) end, "windows", "tok:encode")
  t.raises_text(function() tok:encode(text, { truncate = { to = 1 } }) end, "nothing of a text would be left", "room for 0")
  t.raises_text(function() tok:encode({ text = text, pair = pair }, { truncate = { to = 8, strategy = "only_second" } }) end, "larger length")
  t.raises_text(function() tok:encode(text, { truncate = { to = 6, strategy = "longest" } }) end, "longest_first")
  t.raises_text(function() tok:encode(text, { truncate = { to = 6, side = "middle" } }) end, "middle")
  t.raises_text(function() tok:encode(text, { truncate = { to = "longest" } }) end, "model")
end)

t.test("a row beyond the model's positions is an error with both numbers", function()
  local m = pl.load("scripts/models/tales", { compute = "f32" })
  local long = ("dragon "):rep(m.max_tokens)
  local err = t.raises_text(function() m:forward { "x", long } end, "row 2", tostring(m.max_tokens), tostring(#tok:ids(long)), "truncate", "windows")
  t.equal(err and err.code or "length", "length")
  local fits = m.tokenizer:encode(long, { truncate = { to = "model" } })
  t.equal({ fits.lengths[1], fits.lost[1] }, { m.max_tokens, #tok:ids(long) - m.max_tokens })
end)
