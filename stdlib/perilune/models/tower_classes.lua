-- Classes of pictures by the vision tower of a model that has two: the mean of its patches through a classifier.
local config = require "perilune.families.config"
local two_towers = require "perilune.models.two_towers"

--- The family of such a model.
---@param parent table the family whose tower it has: siglip, clip
---@param name string
---@param architecture string as config.json names it
---@return table family
return function(parent, name, architecture)
  local family = { name = name, variant_of = parent.name, architectures = { [architecture] = "sequence" }, keys = parent.keys,
    unused = { "vision_model.head.*", "vision_model.head.*.*", "vision_model.head.*.*.*", "vision_model.post_layernorm.*", unpack(parent.unused) },
    encode = parent.encode_image, weights = parent.weights }

  function family.config(json)
    local c = parent.config(json)
    local classes, labels = config.labels(json)
    c.labels, c.axes.class, c.axes.vocab = labels, classes, nil   -- it reads no texts
    c.rows = { [two_towers.positions] = c.rows[two_towers.positions] }
    return c
  end

  family.heads = {
    sequence = function(net, x)
      local c, image = net.config, two_towers.image(net)
      local mean, before = image:mean(x), c.grid.before
      if before > 0 then   -- without the class token
        local count = c.picture_tokens
        mean = mean * (count / (count - before)) - image:select(x, "first") * (1 / (count - before))
      end
      return net:scope("", "", { axes = c.vision.axes }):linear(mean, "classifier", "class", { bias = true })
    end,
  }
  return family
end
