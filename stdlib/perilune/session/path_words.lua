-- The paths of a model that continue what is typed.

--- Canonical paths, a component at a time: "layers." then "layers.0.", "layers.*." …
---@param model Model
---@param typed string
---@return string[]
return function(model, typed)
  local words = {}
  local fine, paths = pcall(model.paths, model)
  if not fine then return words end
  local function add(path)
    if path:sub(1, #typed) ~= typed then return end
    local stop = path:find(".", #typed + 1, true)
    words[#words + 1] = stop and path:sub(1, stop) or path
  end
  for _, path in ipairs(paths) do
    add(path)
    add((path:gsub("%.%d+", ".*")))
  end
  return words
end
