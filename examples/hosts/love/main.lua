-- A tavern: each character is a Lua file that runs as a task (pl.async) and says what it hears from the model; a frame
-- gives 3 ms to all of them. F5 runs the characters' files again while the model stays. TAVERN_FRAMES=N ends it after N
-- frames, with a picture (tavern.png in LÖVE's save folder) and how long frames took.
package.cpath = (os.getenv "TAVERN_CPATH" or "/usr/lib/x86_64-linux-gnu/lua/5.1/?.so") .. ";" .. package.cpath
local pl = require "perilune"

local people = { { name = "smith", color = { 0.8, 0.5, 0.25 } }, { name = "bard", color = { 0.3, 0.5, 0.8 } } }
local frames, took, most = 0, {}, tonumber(os.getenv "TAVERN_FRAMES" or "")

local function model() return pl.load(os.getenv "TAVERN_MODEL" or "scripts/models/tales", { threads = 1 }) end

-- A character goes on as long as its file says something.
local function live(person)
  local engine = pl.once("the engine", function() return pl.engine(pl.once("the model", model)) end)
  for turn = 1, math.huge do
    local prompt = require(person.name).line(turn)
    person.said = prompt
    local request = engine:submit(prompt, { max_new_tokens = 40, temperature = 0.8, seed = 7 })
    for event in pl.async.events(request) do
      if event.kind == "token" then person.said = person.said .. event.text end
      person.talks = event.kind == "token"
    end
    pl.async.sleep(300)
  end
end

function love.load()
  love.filesystem.setRequirePath("?.lua")
  for _, person in ipairs(people) do
    person.said = ""
    pl.async.run(live, person)
  end
end

function love.keypressed(key)
  if key ~= "f5" then return end
  for _, person in ipairs(people) do pcall(pl.reload, person.name) end
end

local function report()
  table.sort(took)
  for _, person in ipairs(people) do print(person.name .. ": " .. person.said) end
  print(("%d frames: half within %.1f ms, 99 of 100 within %.1f ms"):format(#took, took[math.ceil(#took / 2)], took[math.ceil(#took * 0.99)]))
end

local function draw()
  love.graphics.clear(0.12, 0.09, 0.07)
  for i, person in ipairs(people) do
    local x = 40 + 310 * (i - 1)
    love.graphics.setColor(person.color)
    love.graphics.rectangle("fill", x + 70, 30, 110, 110, 12)
    love.graphics.setColor(0.08, 0.04, 0.04)
    love.graphics.rectangle("fill", x + 105, 105, 40, person.talks and 4 + frames % 12 or 4)
    love.graphics.setColor(1, 1, 1)
    love.graphics.printf(person.name, x, 150, 250, "center")
    love.graphics.printf(person.said, x, 180, 250)
  end
end

-- LÖVE's loop, with the frame's work timed.
function love.run()
  love.load()
  return function()
    local begin = love.timer.getTime()
    love.event.pump()
    for name, a in love.event.poll() do
      if name == "quit" then return a or 0 end
      if love.handlers[name] then love.handlers[name](a) end
    end
    pl.async.step { budget_ms = 3 }
    draw()
    frames = frames + 1
    if frames == most then love.graphics.captureScreenshot("tavern.png") end
    love.graphics.present()
    took[#took + 1] = (love.timer.getTime() - begin) * 1000
    if frames == (most or math.huge) + 1 then
      report()
      return 0
    end
    love.timer.sleep(math.max(0, 1 / 60 - (love.timer.getTime() - begin)))
  end
end
