-- tok:chat, messages as prompts, and `perilune chat` through a pipe.
local pl = require "perilune"
local core = require "perilune.core"
local compare_text = require "perilune.compare.text"
local t = require "spec"

local program = os.getenv "PERILUNE" or arg[-1]
local tales = "scripts/models/tales"

local turns = "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}[{{ m.content }}] {% else %}{{ m.content }} {% endif %}{% endfor %}"

-- A copy of the demo model with chat templates of its own; gone with the program's folder of
-- temporary files.
local function with_template(files)
  local folder = os.tmpname()
  os.remove(folder)
  core.make_directory(folder, "test")
  for _, name in ipairs(core.list_directory(tales)) do
    if not name:find "^expected" then core.write_file(folder .. "/" .. name, core.read_file(tales .. "/" .. name)) end
  end
  for name, text in pairs(files) do core.write_file(folder .. "/" .. name, text) end
  return folder
end

local function remove(folder)
  for _, name in ipairs(core.list_directory(folder)) do os.remove(folder .. "/" .. name) end
  os.remove(folder)
end

local folder = with_template { ["chat_template.jinja"] = turns }
local m = pl.load(folder, { compute = "f32" })
local tok = m.tokenizer
local function user(content) return { role = "user", content = content } end

t.test("a tokenizer's own template", function()
  t.equal(tok:chat { { role = "system", content = "Be brief" }, user "Hi", { role = "assistant", content = "Yo" } }, "<s>[Be brief] Hi Yo ")
  t.equal(tok:chat [==[[{"role": "user", "content": "Hi"}]]==], "<s>Hi ")
  local source = "{{ eos_token }}{{ add_generation_prompt }}{{ tools | tojson }}{{ documents }}{{ extra }}{{ off }}{{ strftime_now('%Y') }}"
  t.equal(tok:chat({ user "x" }, { template = source }), "</s>TruenullNone" .. os.date "%Y")
  t.equal(tok:chat({ user "x" }, { template = source, add_generation_prompt = false, date = "1999-01-02", documents = {},
    variables = { extra = "e", off = false }, tools = { { name = "f", type = "x" }, '{"z": 1, "a": 2.0}' } }),
    '</s>False[{"type": "x", "name": "f"}, {"z": 1, "a": 2.0}][]eFalse1999')
end)

t.test("which template", function()
  local choose = require("perilune.chat.template").choose
  local sources = { default = "d", tool_use = "t", rag = "r" }
  t.equal(choose(sources, nil, false, "chat"), "d")
  t.equal(choose(sources, nil, true, "chat"), "t")
  t.equal(choose({ default = "d" }, nil, true, "chat"), "d")
  t.equal(choose(sources, "rag", true, "chat"), "r")
  t.equal(choose(sources, "{{ 1 }}", false, "chat"), "{{ 1 }}")
  t.raises_text(function() choose(sources, "tool_uze", false, "chat") end, 'did you mean "tool_use"')
  t.raises_text(function() choose({ rag = "r" }, nil, false, "chat") end, "none is the default", "rag")
  t.raises_text(function() choose({}, nil, false, "chat") end, "no chat template", "template=")
  t.raises_text(function() pl.tokenizer(tales):chat { user "x" } end, "no chat template")
end)

t.test("messages are checked, with their place", function()
  local function chat(messages, opts) return function() tok:chat(messages, opts) end end
  t.raises_text(chat(nil), "list of messages")
  t.raises_text(chat({}), "no messages")
  t.raises_text(chat(user "x"), "got one message")
  t.raises_text(chat { user "x", { content = "y" } }, "message 2", "`role` is missing")
  t.raises_text(chat { user "x", { role = "user" } }, "message 2 (user)", "`content` is missing")
  t.raises_text(chat { user(3) }, "message 1 (user)", "got int")
  t.raises_text(chat { "x" }, "message 1", "got str")
  t.raises_text(chat '[{"role": "user", }]', "not JSON")
  t.raises_text(chat({ user "x" }, { tools = { 3 } }), "option tools", "entry 1")
  t.raises_text(chat({ user "x" }, { tool = {} }), 'did you mean "tools"')
  t.raises_text(chat({ user "x" }, { template = "a\n{{ nothing.more }}" }), "chat: template line 2, column 12", "'nothing' is undefined", "^")
end)

t.test("messages are a prompt: special tokens recognised, none added", function()
  local o = { max_new_tokens = 8, do_sample = false }
  local result = m:generate({ messages = { user "Once upon a time" } }, o)
  local ids = tok:ids("<s>Once upon a time ", { special = false })
  t.equal({ ids[1], ids[2] ~= tok.specials.bos }, { tok.specials.bos, true }, "the template's <s> is the only one")
  t.equal(result.prompt_tokens, #ids)
  t.equal(result.ids, m:generate({ ids = ids }, o).ids)
  local spelled = m:generate { messages = { user "x" }, template = "{{ messages[0].content }}{{ off }}", variables = { off = "y" }, max_new_tokens = 4, do_sample = false }
  t.equal(spelled.ids, m:generate({ ids = tok:ids("xy", { special = false }) }, { max_new_tokens = 4, do_sample = false }).ids)
  local list = m:generate({ { messages = { user "Once" } }, { messages = { user "The" } } }, o)
  t.equal(#list, 2)
  t.raises_text(function() m:generate { messages = {} } end, "no messages")
  t.raises_text(function() m:generate { prompt = "x", tools = {} } end, "tools")
end)

t.test("reference rows", function()
  local path = "../shared/golden/text/chat-templates.jsonl"
  if not t.exists(path) then t.skip "reference data missing: chat-templates.jsonl" end
  local lines = {}
  compare_text.compare(path, { data = "../shared/data" }, { line = function(_, _, verdict, text) lines[#lines + 1] = verdict .. " " .. text end })
  t.equal(lines, { "ok 72 rows equal" })
end)

-- ---------------------------------------------------------------- the verb

-- Lines in; what came out, what was said beside it, the exit status.
local function talk(lines, arguments)
  local input, errors = os.tmpname(), os.tmpname()
  core.write_file(input, table.concat(lines, "\n") .. "\n")
  local pipe = assert(io.popen(("%s chat %s < %s 2> %s; echo \"status=$?\""):format(program, arguments, input, errors)))
  local out, status = pipe:read("*a"):match "^(.*)status=(%d+)\n$"
  pipe:close()
  local said = core.read_file(errors)
  os.remove(input)
  os.remove(errors)
  return out, said, tonumber(status)
end

local greedy = folder .. " --greedy --max-new-tokens 8"

t.test("chat: answers line by line and keeps the conversation", function()
  local o = { max_new_tokens = 8, do_sample = false }
  local first = m:generate({ messages = { user "Once upon a time" } }, o).text
  local second = m:generate({ messages = { user "Once upon a time", { role = "assistant", content = first }, user "And then" } }, o).text
  local out, said, status = talk({ "Once upon a time", "", "And then" }, greedy)
  t.equal({ out, said, status }, { first .. "\n" .. second .. "\n", "", 0 })
  out = talk({ "Once upon a time", "/reset", "Once upon a time" }, greedy)
  t.equal(out, first .. "\n" .. first .. "\n")
  out = talk({ "/system Be brief", "Once upon a time" }, greedy)
  t.equal(out, talk({ "Once upon a time" }, greedy .. " --system 'Be brief'"))
  t.ok(out ~= first .. "\n", "the system message is part of the prompt")
end)

t.test("chat: /save, /load, /help, /quit, //", function()
  local file = os.tmpname()
  local out, said, status = talk({ "Once upon a time", "/save " .. file, "/quit", "not said" }, greedy)
  t.equal({ said, status }, { "", 0 })
  local messages = core.read_json(file)
  t.equal({ #messages, messages[1].role, messages[1].content, messages[2].role, messages[2].content .. "\n" }, { 2, "user", "Once upon a time", "assistant", out })
  local more = talk({ "Once upon a time", "And then" }, greedy)
  t.equal(out .. talk({ "/load " .. file, "And then" }, greedy), more)
  t.ok(talk({ "/help" }, greedy):find("/system TEXT", 1, true))
  out = talk({ "//system" }, greedy)
  t.equal(out, m:generate({ messages = { user "/system" } }, { max_new_tokens = 8, do_sample = false }).text .. "\n")
  os.remove(file)
end)

t.test("chat: what goes wrong is said, and the rest goes on", function()
  local out, said, status = talk({ "/sistem x", "Once upon a time" }, greedy)
  t.ok(said:find('no command is called /sistem; did you mean /system?', 1, true), said)
  t.equal(status, 1)
  t.equal(out, talk({ "Once upon a time" }, greedy))
  out, said, status = talk({ "x" }, tales)
  t.ok(said:find("no chat template", 1, true) and said:find("--raw", 1, true), said)
  t.equal({ out, status }, { "", 1 })
  out, said, status = talk({ "Once upon a time" }, tales .. " --raw --greedy --max-new-tokens 8")
  t.equal({ out, said, status }, { m:generate("Once upon a time", { max_new_tokens = 8, do_sample = false }).text .. "\n", "", 0 })
end)

t.test("chat: what no longer fits is dropped and named", function()
  local lines = {}
  for i = 1, 30 do lines[i] = "Once upon a time there was a little house on the hill, number " .. i end
  local _, said, status = talk(lines, greedy)
  t.equal(status, 0)
  t.ok(said:find(("the model's %d positions: the oldest %%d+ messages were dropped"):format(m.max_tokens)), said)
  _, said, status = talk({ ("many words "):rep(400) }, greedy)
  t.ok(said:find("the message has %d+ tokens"), said)
  t.equal(status, 1)
end)

t.test("chat: the copy is removed", function()
  m:close()
  remove(folder)
  t.ok(not t.exists(folder .. "/config.json"))
end)
