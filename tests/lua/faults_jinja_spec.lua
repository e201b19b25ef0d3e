-- Templates against the published renderer's answers (tests/faults/ask_jinja.py asked it), and its
-- letters: what Python's str says of characters.
local core = require "perilune.core"
local chat_template = require "perilune.chat.template"
local t = require "spec"

local answers = core.read_json "tests/faults/jinja_answers.json"

for _, case in ipairs(answers.cases) do
  t.test((case.refused and "refused: " or "") .. case.source:gsub("%s+", " "):sub(1, 100), function()
    local fine, got = pcall(chat_template.render, case.source, answers.messages, {})
    if case.refused then
      t.ok(not fine, "published: " .. case.refused)
      t.ok(type(got) == "table" and got.code, "an error of the caller: " .. tostring(got))
    else
      t.ok(fine, tostring(got))
      t.equal(got, case.text)
    end
  end)
end

t.test("numbers beyond 2^53 and bytes that are no text pass through", function()
  t.equal(chat_template.render("{{ messages[0].n|tojson }} {{ messages[0].n }}", '[{"role": "user", "n": 12345678901234567890123}]'),
    "12345678901234567890123 12345678901234567890123")
  t.equal(chat_template.render("{{ messages[0].z|tojson }} {{ messages[0].f }}", '[{"role": "user", "z": -0, "f": 1E5}]'), "0 100000.0")
  t.equal(core.change_case("\255a\206", "upper"), "\255A\206")
  t.equal(core.all_characters("a\255", "alpha"), false)
  t.raises_text(function() core.change_case("a", "camel") end, "camel")
end)
