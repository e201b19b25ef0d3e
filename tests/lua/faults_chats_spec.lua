-- Chat templates of many styles against the published renderer's answers (tests/faults/ask_templates.py asked it).
local core = require "perilune.core"
local chat_template = require "perilune.chat.template"
local t = require "spec"

local answers = core.read_json "tests/faults/template_answers.json"

for _, case in ipairs(answers.cases) do
  t.test(("%s of the chat %s"):format(case.template, case.chat), function()
    local chat = answers.chats[case.chat]
    local opts = { tools = chat.tools, documents = chat.documents, add_generation_prompt = case.chat == "plain", date = "2025-07-03",
      special = { bos_token = "<s>", eos_token = "</s>" } }
    local fine, got = pcall(chat_template.render, answers.templates[case.template], chat.messages, opts)
    if case.refused then
      t.ok(not fine, "published: " .. case.refused)
    else
      t.ok(fine, tostring(got))
      t.equal(got, case.text)
    end
  end)
end
