-- The command line of a benchmark: options with their defaults, and paths.

--- Reads `arg`. `options`: name → default, a number or a text; `texts`: names of those that have no default.
---@param who string stands in errors
---@param options table filled with what is given
---@param texts? table<string, boolean>
---@return table paths
return function(who, options, texts)
  local paths, at = {}, 1
  while arg[at] do
    local name = arg[at]:match "^%-%-([%w_]+)$"
    if name then
      local text = texts and texts[name] or type(options[name]) == "string"
      assert(text or options[name], who .. ": unknown option --" .. name)
      options[name] = assert(text and arg[at + 1] or tonumber(arg[at + 1]), ("%s: --%s needs a %s"):format(who, name, text and "text" or "number"))
      at = at + 2
    else
      paths[#paths + 1], at = arg[at], at + 1
    end
  end
  return paths
end
