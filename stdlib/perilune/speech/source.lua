-- Where samples come from: a file read as far as it is needed, samples that are there, a sound that is still being
-- written. No more is held than what the next window may ask for.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local kind = require "perilune.base.kind"

local source = {}

local rate = 16000          -- what models of speech hear
local at_once = 2 ^ 17      -- samples of one reading
local most_around = 480     -- samples that are kept before those that were asked for
local patience = 3          -- seconds without anything new after which a growing sound has ended
local pause = 0.1           -- seconds between two looks at it

local Source = {}
Source.__index = Source

--- What a pipeline's input stands for: a path, samples, { samples=, rate= }, or an open sound.
---@param input any
---@param o table { follow=, patience= }
---@param op string
---@return table source
function source.of(input, o, op)
  local s = { first = 0, ended = false, follow = o.follow, patience = o.patience or patience }
  if type(input) == "table" and not kind.of(input) and input.samples ~= nil then
    local own = options.check(input, { samples = "Tensor", rate = "positive" }, op)
    s.held = own.rate and own.rate ~= rate and core.resample(own.samples, own.rate, rate) or own.samples
  elseif kind.of(input) == "Tensor" then
    s.held = input
  elseif type(input) == "string" then
    s.sound, s.path = core.sound_open(input, rate, o.follow == true), input
  elseif kind.of(input) == "Sound" then
    s.sound = input
  else
    raise("argument", op, "expected the path of a sound, samples, { samples=, rate= } or an open sound, got " .. options.show(input))
  end
  if s.held then
    if #s.held.shape ~= 1 then raise("shape", op, "samples must be [sample], got " .. tostring(s.held.shape)) end
    local axis = s.held.shape[1].name
    s.held, s.ended = axis == "sample" and s.held or s.held:rename { [axis] = "sample" }, true
    s.length = s.held.shape.sample
  else
    s.seconds = s.sound.seconds
  end
  return setmetatable(s, Source)
end

function Source:size() return self.held and self.held.shape.sample or 0 end

-- Reads once; waits where more may come.
function Source:read()
  local part = self.sound:read(at_once)
  local waited = 0
  while not part and self.follow and waited < self.patience do
    core.sleep(pause)
    if core.interrupted() then break end
    part, waited = self.sound:read(at_once), waited + pause
  end
  if not part then
    self.ended, self.length = true, self.first + self:size()
    return
  end
  self.held = self.held and core.cat({ self.held, part }, "sample") or part
end

--- Samples from `from` (0: the first), at most `count`; nil at the end. What lies before is let go, but for as many as
--- `around` may ask for.
---@param from integer never less than before
---@param count integer
---@param around integer|nil as many more before and after, where there are any
---@return Tensor|nil samples [sample]
---@return integer before how many of them lie before `from`
function Source:take(from, count, around)
  around = around or 0
  while not self.ended and self.first + self:size() < from + count + around do self:read() end
  local skip, there = from - self.first, self:size()
  if skip >= there then return nil, 0 end
  if skip > most_around then
    self.held, self.first = self.held:at { sample = { skip - most_around + 1, there } }:copy(), from - most_around
    skip, there = most_around, there - skip + most_around
  end
  local before = math.min(around, skip)
  return self.held:at { sample = { skip - before + 1, math.min(skip + count + around, there) } }, before
end

--- Calls f with all samples, part by part, where they can be read beside what is heard: a file, or samples.
---@param most integer samples of a part
---@param f fun(samples: Tensor)
function Source:each_part(most, f)
  if not self.sound then
    for first = 1, self.length, most do f(self.held:at { sample = { first, math.min(first + most - 1, self.length) } }) end
  elseif self.path and self.seconds and not self.follow then
    local sound = core.sound_open(self.path, rate, false)
    local part = sound:read(most)
    while part do
      f(part)
      part = sound:read(most)
    end
    sound:close()
  end
end

--- Seconds in all; nil while nobody knows.
---@return number|nil
function Source:total() return self.length and self.length / rate or self.seconds end

source.rate = rate

return source
