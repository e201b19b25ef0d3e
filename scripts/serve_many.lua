-- Many clients, one model: requests arrive while others run, and a policy that you can edit
-- (my_policy.lua beside this file) decides who runs next. A frame loop with a budget per frame.
--   perilune scripts/serve_many.lua [MODEL]
local pl = require "perilune"

local here = arg[0]:match "^(.*)/[^/]*$" or "."
local m = pl.load(arg[1] or here .. "/models/tales")
local my_policy = dofile(here .. "/my_policy.lua")

-- What comes in: at which frame, from whom, how much is wanted.
local arrivals = {
  { frame = 1, client = "narrator", prompt = "Once upon a time", max_new_tokens = 60 },
  { frame = 1, client = "wizard", prompt = "[wizard, mysterious, about the scroll]", max_new_tokens = 30 },
  { frame = 4, client = "blacksmith", prompt = "[blacksmith, grumpy, about the sword]", max_new_tokens = 12 },
  { frame = 8, client = "fox", prompt = "One day a fox", max_new_tokens = 6 },
  { frame = 8, client = "owl", prompt = "One day an owl", max_new_tokens = 6 },
}

local function serve(name, policy)
  local engine = pl.engine(m, { policy = policy })
  local frame, waiting, finished, lines = 0, #arrivals, {}, {}
  while waiting > 0 or not engine:idle() do
    frame = frame + 1
    for _, arrival in ipairs(arrivals) do
      if arrival.frame == frame then
        lines[#lines + 1] = engine:submit({ prompt = arrival.prompt, max_new_tokens = arrival.max_new_tokens,
          client = arrival.client, seed = 5 })
        waiting = waiting - 1
      end
    end
    engine:step { budget_ms = 3 }   -- a game's frame has 3 ms to spare
    for request, event in engine:events() do
      if event.kind == "done" then finished[#finished + 1] = { id = request.id, frame = frame } end
    end
  end
  print(("\n%s: %d frames"):format(name, frame))
  for _, done in ipairs(finished) do
    for i, line in ipairs(lines) do
      if line.id == done.id then
        local result = line:result()
        print(("  frame %3d  %-10s %-7s %s"):format(done.frame, arrivals[i].client, result.finish_reason,
          result.text:gsub("%s+", " "):sub(1, 48)))
      end
    end
  end
  engine:close()
  return lines
end

local first = serve("first in, first out", pl.policy.fifo())
local second = serve("my policy", my_policy)

-- The order changed; no answer did.
for i = 1, #arrivals do
  if first[i]:result().text ~= second[i]:result().text then
    print("the answer of " .. arrivals[i].client .. " differs: that must not happen")
    os.exit(1)
  end
end
print("\nevery answer is the same under both policies")
