-- A search by beams finds what it finds alone, in whatever pieces it is computed and whenever its
-- pages are taken back: a beam may have offered its next tokens before it is computed again.
local pl = require "perilune"
local t = require "spec"

-- The same numbers everywhere.
local state
local function draw(n)
  state = (state * 1103515245 + 12345) % 2147483648
  return math.floor(state / 65536) % n + 1
end

-- Runs any part of what is pending, at most four tokens a row, or takes the pages back.
local function pieces(queue)
  local entry = queue[1]
  if not entry then return {} end
  if entry.cached_tokens > 0 and draw(3) == 1 then return { preempt = { entry } } end
  return { { entry, tokens = draw(math.min(entry.pending_tokens, 4)) } }
end

local function answer(result)
  local parts = {}
  for i, one in ipairs(result.sequences) do parts[i] = ("%s: %.17g"):format(table.concat(one.ids, " "), one.score) end
  return table.concat(parts, "\n")
end

local options = { max_new_tokens = 8, num_beams = 3, num_return_sequences = 3, eos_token_id = {} }

for _, name in ipairs { "llama-gqa", "mistral-window", "gpt2-plain" } do
  t.test(name .. ": 150 ways to compute a search have the answers of one", function()
    local m = pl.load("tests/golden/" .. name)
    for prompt = 1, 3 do
      local ids = {}
      for k = 1, 3 + prompt * 5 do ids[k] = (k * 7 + prompt * 13) % (m.vocab_size - 1) end
      local alone = answer(m:generate(ids, options))
      for seed = 1, 50 do
        state = seed * 7919
        local engine = pl.engine(m, { policy = pieces })
        local line = engine:submit(ids, options)
        engine:drain()
        t.equal(answer(line:result()), alone, ("prompt %d, seed %d"):format(prompt, seed))
        engine:close()
      end
    end
    m:close()
  end)
end
