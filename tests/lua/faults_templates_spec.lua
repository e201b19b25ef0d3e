-- Chat templates: what goes in comes out as published, which template is read, going on from a begun
-- answer, and limits that scale with the conversation.
local pl = require "perilune"
local core = require "perilune.core"
local chat_template = require "perilune.chat.template"
local t = require "spec"

local function render(source, messages, opts)
  opts = opts or {}
  opts.special = { bos_token = "<s>", eos_token = "</s>" }
  return chat_template.render(source, messages, opts)
end

local listed = "{% for m in messages %}{{ m.keys()|list }}{% endfor %}"

t.test("keys of a message without a value are absent; null inside stays", function()
  for _, case in ipairs {
    { listed, [==[[{"role": "assistant", "content": null, "tool_calls": null, "name": ""}]]==], "['role', 'name']" },
    { "{{ messages[0].content }}.", [==[[{"role": "assistant", "content": null, "refusal": null}]]==], "." },
    { "{{ messages[0].thinking }}{{ messages[0].reasoning_content }}",
      [==[[{"role": "assistant", "content": "", "thinking": null, "reasoning": "r"}]]==], "rr" },
    { "{{ messages[0].x }}{{ messages[0].content[0].y }}", [==[[{"role": "user", "content": [{"y": null}], "x": {"z": [null]}}]]==],
      "{'z': [None]}None" },
  } do
    t.equal(render(case[1], case[2]), case[3])
  end
end)

-- A folder with a word tokenizer and these files.
local function folder_with(files)
  local folder = os.tmpname()
  os.remove(folder)
  core.make_directory(folder .. "/additional_chat_templates", "test")
  core.write_file(folder .. "/tokenizer.json", [[{"version":"1.0","added_tokens":[],"normalizer":null,"pre_tokenizer":{"type":"WhitespaceSplit"},
    "post_processor":null,"decoder":null,"model":{"type":"WordLevel","unk_token":"<unk>","vocab":{"<unk>":0,"a":1}}}]])
  for name, text in pairs(files) do core.write_file(folder .. "/" .. name, text) end
  return folder
end

t.test("templates in files of their own, by name", function()
  local settings = [[{"chat_template": [{"name": "default", "template": "old"}, {"name": "gone", "template": "x"}]}]]
  local tok = pl.tokenizer(folder_with { ["tokenizer_config.json"] = settings, ["chat_template.jinja"] = "plain {{ messages[0].content }}",
    ["additional_chat_templates/tool_use.jinja"] = "tools {{ tools[0].name }}",
    ["additional_chat_templates/rag.jinja"] = "rag {{ documents[0].text }}",
    ["additional_chat_templates/notes.txt"] = "no template" })
  local message, tools = { { role = "user", content = "hi" } }, { { name = "ping" } }
  t.equal(tok:chat(message), "plain hi")
  t.equal(tok:chat(message, { tools = tools }), "tools ping")
  t.equal(tok:chat(message, { template = "rag", documents = { { text = "d" } } }), "rag d")
  t.raises_text(function() tok:chat(message, { template = "gone" }) end, "neither a template")
  t.equal(pl.tokenizer(folder_with { ["tokenizer_config.json"] = settings }):chat(message), "old")
  t.equal(pl.tokenizer(folder_with { ["tokenizer_config.json"] = "{}", ["additional_chat_templates/default.jinja"] = "d" }):chat(message), "d")
end)

t.test("tools and documents that a template never reads are told", function()
  local tok = pl.tokenizer(folder_with { ["tokenizer_config.json"] = "{}",
    ["chat_template.jinja"] = "tools: {{ messages[0].content }} {# tools #}{{ 'documents' }}" })
  local told = {}
  pl.on_warning(function(text) told[#told + 1] = text end)
  local message = { { role = "user", content = "hi" } }
  tok:chat(message)
  t.equal(#told, 0)
  tok:chat(message, { tools = { { name = "f" } }, documents = { { text = "d" } } })
  tok:chat(message, { tools = { { name = "f" } }, template = "{{ tools }}" })
  pl.on_warning(nil)
  t.equal(#told, 2)
  t.ok(told[1]:find("never reads tools", 1, true), told[1])
  t.ok(told[2]:find("never reads documents", 1, true), told[2])
end)

local turns = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</s>\n{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
local trimmed = "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}</s>{% endfor %}"
local parts = "{% for m in messages %}{% for p in m.content %}[{{ p.text }}]{% endfor %}{% endfor %}"
local thought = "{% for m in messages %}<think>{{ m.thinking }}</think>{{ m.content }}{% endfor %}"

t.test("a prompt that ends inside the last message, as published", function()
  local function last(content, more)
    local message = { role = "assistant", content = content }
    for key, value in pairs(more or {}) do message[key] = value end
    return { { role = "user", content = "a" }, message }
  end
  for _, case in ipairs {
    { turns, last "The answer is ", true, "<user>a</s>\n<assistant>The answer is " },
    { trimmed, last "The answer is ", true, "<user>a</s><assistant>The answer is" },
    { parts, { { role = "assistant", content = { { type = "text", text = "x " }, { type = "image" } } } }, true, "[x " },
    { thought, { { role = "assistant", content = "c", reasoning_content = "so" } }, "reasoning_content", "<think>so" },
  } do
    t.equal(render(case[1], case[2], { continue_final_message = case[3] }), case[4])
  end
  t.raises_text(function() render(turns, last "x", { continue_final_message = true, add_generation_prompt = true }) end, "give one of them")
  t.raises_text(function() render(turns, last "x", { continue_final_message = "thinking" }) end, "has no \"thinking\"")
  t.raises_text(function() render("{{ messages[0].content }}", last "x", { continue_final_message = true }) end, "leaves the last message out")
  t.raises_text(function() render("{{ messages[0].role }}", last "x", { continue_final_message = true }) end, "does not read \"content\"")
end)

t.test("generate and the chat pipeline go on from a begun answer", function()
  local m = pl.load("scripts/models/tales", { compute = "f32" })
  local begun = { { role = "user", content = "Once" }, { role = "assistant", content = " upon a" } }
  local source = "{% for m in messages %}{{ m.content }}{% endfor %}"
  local options = { max_new_tokens = 8, do_sample = false }
  local want = m:generate({ ids = m.tokenizer:ids("Once upon a", { special = false }) }, options).text
  t.equal(m:generate({ messages = begun, template = source, continue_final_message = true }, options).text, want)
  m:close()
end)

t.test("limits scale with the conversation", function()
  local messages = {}
  for i = 1, 2000 do messages[i] = { role = i % 2 == 1 and "user" or "assistant", content = ("word "):rep(20) } end
  -- looks back from every message, as templates do that show tools at the last question only
  local back = "{% for m in messages %}{% set ns = namespace(n=0) %}{% for p in messages[loop.index0 - 20 if loop.index0 > 20 else 0:loop.index0] %}"
    .. "{% if p.role == 'user' and 'x' not in p.content %}{% set ns.n = ns.n + p.content|length %}{% endif %}{% endfor %}{{ ns.n }} {% endfor %}"
  t.ok(#render(back, messages) > 4000, "2,000 messages")
  local long = ("Grüße "):rep(2 ^ 19)
  t.equal(#render("{{ messages[0].content | trim }}{% for m in messages %}{{ m.content.split(' ') | length }}{% endfor %}",
    { { role = "user", content = long } }), #long - 1 + 6)
  t.raises_text(function() render("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", { { role = "user", content = "x" } }) end,
    "steps: it does not end")
end)

t.test("what the template puts behind an answer stops it; check warns where eos is another", function()
  local turn_end = require "perilune.chat.turn_end"
  local folder = os.tmpname()
  os.remove(folder)
  core.make_directory(folder, "test")
  for _, name in ipairs(core.list_directory "scripts/models/tales") do
    if not name:find "^expected" then core.write_file(folder .. "/" .. name, core.read_file("scripts/models/tales/" .. name)) end
  end
  core.write_file(folder .. "/chat_template.jinja", "{% for m in messages %}{{ m.content }}{{ unk_token if m.role == 'assistant' }}{% endfor %}")
  local m = pl.load(folder, { compute = "f32" })
  local unk = m.tokenizer.specials.unk
  t.equal(turn_end.id(m.tokenizer), unk)
  local stops = turn_end.stops(m, { eos_token_id = 2 })
  t.equal(stops[1], unk)
  t.equal(stops[2], 2)
  t.equal(turn_end.stops(m, { eos_token_id = { 2, unk } }), nil)
  t.equal(turn_end.id(m.tokenizer, { template = "{{ messages[1].content }} and more" }), nil)
  t.ok(table.concat(m.warnings, "\n"):find "ends a turn with", table.concat(m.warnings, "\n"))
  -- the turn's end, forced after one token, ends an answer to messages
  local step = 0
  local function force(row)
    step = step + 1
    row:set(-1e9)
    row:set(100, { vocab = step == 1 and 300 or unk })
  end
  local options = { max_new_tokens = 6, do_sample = false, processors = { force } }
  t.equal(m:generate({ messages = { { role = "user", content = "Once" } } }, options).finish_reason, "stop")
  m:close()
end)
