-- Where samples come from: a file read as far as it is needed, samples that are there, a sound that is still being
-- written. No more is held than what the next window may ask for.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local kind = require "perilune.base.kind"

local source = {}

local rate = 16000          -- what models of speech hear
local at_once = 2 ^ 17      -- samples of one reading
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
    s.sound = core.sound_open(input, rate, o.follow == true)
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

--- Samples from `from` (0: the first), at most `count`; nil at the end. What lies before is let go.
---@param from integer never less than before
---@param count integer
---@return Tensor|nil samples [sample]
function Source:take(from, count)
  while not self.ended and self.first + self:size() < from + count do self:read() end
  local skip, there = from - self.first, self:size()
  if skip >= there then return nil end
  if skip > 0 then self.held, self.first = self.held:at { sample = { skip + 1, there } }:copy(), from end
  local last = math.min(count, self:size())
  return self.held:at { sample = { 1, last } }
end

--- Seconds in all; nil while nobody knows.
---@return number|nil
function Source:total() return self.length and self.length / rate or self.seconds end

source.rate = rate

return source
