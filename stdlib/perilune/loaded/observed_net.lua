-- A scope as families see it that tells of every product with a stored matrix: what goes in, what comes out.
-- For eager passes.

local function full(net, path)
  local scope = net.path
  return scope == "" and path or scope .. "." .. path
end

--- The scope, observed. `before` is called before the product, so that it may put another weight in the place. A use is
--- { module= (the path of its weight), x=, over= (the axes of x that are summed over), shared= (whether a table has it too) }.
---@param net userdata
---@param observe table { before=fun(use), after=fun(use, y), norm=fun(y, path, …) }, each may be missing
---@return table
local function observed_net(net, observe)
  local function use_of(x, module, over, shared)
    if type(over) == "string" then over = { over } end
    return { module = module, x = x, over = over or { x.shape[x.rank].name }, shared = shared }
  end
  local function product(use, multiply)
    if observe.before then observe.before(use) end
    local y = multiply()
    if observe.after then observe.after(use, y) end
    return y
  end
  local own = {}
  function own.scope(_, ...) return observed_net(net:scope(...), observe) end
  function own.linear(_, x, path, axes, opts)
    return product(use_of(x, full(net, path), opts and opts.over), function() return net:linear(x, path, axes, opts) end)
  end
  function own.head(_, x, path, axis, opts)
    local tied = opts and opts.tied
    return product(use_of(x, tied or full(net, path), nil, tied ~= nil), function() return net:head(x, path, axis, opts) end)
  end
  for _, name in ipairs { "rms_norm", "layer_norm" } do
    own[name] = function(_, x, path, ...)
      local y = net[name](net, x, path, ...)
      if observe.norm then observe.norm(y, full(net, path), ...) end
      return y
    end
  end
  return setmetatable({}, { __index = function(_, key)
    if own[key] then return own[key] end
    local value = net[key]
    if type(value) ~= "function" then return value end
    return function(_, ...) return value(net, ...) end
  end })
end

return observed_net
