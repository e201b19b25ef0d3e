-- scripts/prove_invariance.lua as a program: a short run over a model that writes, a head that does not, an
-- encoder-decoder; and that it sees a difference where there is one.
local core = require "perilune.core"
local t = require "spec"

local program = os.getenv "PERILUNE" or arg[-1]

local function run(script, arguments)
  local pipe = assert(io.popen(("%s %s %s 2>&1; echo \"status=$?\""):format(program, script, arguments)))
  local text = pipe:read "*a"
  pipe:close()
  local out, status = text:match "^(.*)status=(%d+)\n$"
  return out, tonumber(status)
end

for _, model in ipairs { t.golden "llama-gqa", "scripts/models/reviews", t.golden "t5-relu-tied", t.golden "bart-sequence" } do
  t.test(model .. ": no answer differs", function()
    local out, status = run("scripts/prove_invariance.lua", model .. " --compositions 22 --seed 5 compute=f32")
    t.equal(status, 0, out)
    t.ok(out:find("22 compositions, %d+ answers, 0 differ; seed 5"), out)
  end)
end

t.test("no answer differs among adapters and none", function()
  local out, status = run("scripts/prove_invariance.lua", t.golden "llama-gqa"
    .. " --compositions 22 --seed 7 adapters=tests/adapters/llama-list,tests/adapters/llama-patterns compute=f32")
  t.equal(status, 0, out)
  t.ok(out:find "22 compositions, %d+ answers, 0 differ", out)
end)

t.test("a difference is seen", function()
  local text = core.read_file "scripts/prove_invariance.lua"
  local changed, count = text:gsub("local function options_of%(i%)\n", "%0  if compared_ > 40 then i = i + 1 end\n")
  t.equal(count, 1)
  changed = changed:gsub("local compared, different = 0, 0\n", "local compared, different = 0, 0\n"):gsub("compared = compared %+ 1\n", "%0  compared_ = compared\n")
  changed = "compared_ = 0\n" .. changed
  local file = os.tmpname()
  core.write_file(file, changed)
  os.rename(file, file .. ".lua")
  local out, status = run(file .. ".lua", t.golden "llama-gqa" .. " --compositions 22 --seed 5")
  os.remove(file .. ".lua")
  t.equal(status, 1, out)
  t.ok(out:find "differs: policy", out)
end)

t.test("what it is asked is checked", function()
  local out, status = run("scripts/prove_invariance.lua", "")
  t.equal(status, 2, out)
  t.equal(select(2, run("scripts/prove_invariance.lua", "x --compositions few")), 2)
  t.equal(select(2, run("scripts/prove_invariance.lua", "no_such_folder")) ~= 0, true)
end)
