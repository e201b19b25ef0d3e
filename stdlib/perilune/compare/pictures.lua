-- Reference values of models that read pictures: preprocessing, both towers, how texts and pictures fit.
local pl = require "perilune"
local core = require "perilune.core"
local pair = require "perilune.run.pair"
local pictures = require "perilune.run.pictures"
local preprocessor = require "perilune.loaded.preprocessor"
local reference = require "perilune.compare.reference"

local compare = {}

local from_pixels = 1e-3   -- what a picture's way through a tower may add

--- Whether a folder's expected.json is of texts and pictures.
---@param expected table
---@return boolean
function compare.knows(expected) return expected.image_embeds ~= nil or expected.text_embeds ~= nil end

--- Whether it is of pictures alone: their classes or states.
---@param expected table
---@return boolean
function compare.classifies(expected) return expected.pixel_logits ~= nil or expected.pixel_last ~= nil end

local function close(report, name, ours, theirs, tolerance)
  local difference = reference.difference(reference.flatten(ours), reference.flatten(theirs))
  report.line("pictures", name, difference <= tolerance and "ok" or "OFF", ("largest difference %.2e (at most %.0e)"):format(difference, tolerance))
end

-- The stored picture through the model's preprocessing: a step of a byte is close enough.
local function compare_preprocessing(m, stored, report)
  local s = rawget(m, "state_")
  for _, name in ipairs(stored.names) do
    if name:find "^image_rgb" and stored.has "image_processed" then
      local given = stored.tensor(name)
      local axes = given.shape
      local image = given:rename { [axes[1].name] = "height", [axes[2].name] = "width", [axes[3].name] = "channel" }
      local recipe = preprocessor.of(s, "compare")
      local smallest = math.huge
      for _, std in ipairs(recipe.std or { 1 }) do smallest = math.min(smallest, std) end
      close(report, "preprocessing", pictures.prepared(recipe, image), stored.tensor "image_processed", 1.001 / 255 / smallest)
    end
  end
end

local function named(t, first) return t:rename { [t.shape[1].name] = first, [t.shape[2].name] = "hidden" } end

--- Texts and pictures of a model with two towers.
---@param m Model
---@param expected table
---@param stored table
---@param report table
function compare.compare(m, expected, stored, report)
  compare_preprocessing(m, stored, report)
  for i, text in ipairs(expected.texts or {}) do
    local ids = m.tokenizer and m.tokenizer:ids(text) or {}
    local same = core.write_json(ids) == core.write_json(expected.ids[i])
    report.line("tokenizer", "text " .. i, m.tokenizer and (same and "ok" or "OFF") or "skip", #ids .. " ids")
  end
  local out, err = pl.try(m.forward, m, { ids = expected.ids, pixels = stored.tensor(expected.pixel_values or "pixel_values") })
  if not out then return report.line("pictures", "forward", "OFF", tostring(err)) end
  local texts, images = stored.tensor(expected.text_embeds), stored.tensor(expected.image_embeds)
  close(report, "text_embeds", out.text_embeds, texts, 1e-4)
  close(report, "image_embeds, from pixels", out.image_embeds, images, from_pixels)
  local logits = stored.tensor(expected.logits_per_image)
  close(report, "logits_per_image, from pixels", out.logits_per_image, logits, from_pixels)
  close(report, "logits_per_image, of the stored embeddings", pair.logits(m, named(images, "image"), named(texts, "text")), logits, 1e-4)
  if core.ranks() then return report.line("pictures", "eager", "skip", "ranks run no pass line by line") end
  close(report, "eager, to the bit", m:eager():forward { ids = expected.ids, pixels = stored.tensor "pixel_values" }.logits_per_image,
    out.logits_per_image, 0)
end

--- Classes of pictures.
---@param m Model
---@param expected table
---@param stored table
---@param report table
function compare.compare_classes(m, expected, stored, report)
  compare_preprocessing(m, stored, report)
  local out, err = pl.try(m.forward, m, { pixels = stored.tensor "pixel_values" })
  if not out then return report.line("pictures", "forward", "OFF", tostring(err)) end
  for ours, name in pairs { logits = "pixel_logits", last_hidden_state = "pixel_last", pooled = "pixel_pooled" } do
    if expected[name] then
      if out[ours] then close(report, ours .. ", from pixels", out[ours], stored.tensor(expected[name]), from_pixels)
      else report.line("pictures", ours, "OFF", "is missing") end
    end
  end
end

return compare
