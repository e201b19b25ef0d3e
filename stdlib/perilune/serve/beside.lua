-- What requests hold beside their own keys and values, for passes of their own (guidance, contrastive search): given back
-- when they have ended, and not only when the collector comes by.
local beside = {}

local alive = setmetatable({}, { __mode = "k" })   -- what is held → its request

--- Notes what a request holds.
---@param request userdata
---@param held table { cache=, branches= }
---@return table held
function beside.hold(request, held)
  alive[held] = request
  return held
end

--- Gives back the pages of a cache that nothing goes on from.
---@param cache Cache|nil
function beside.release(cache)
  if cache then pcall(cache.crop, cache, 0) end   -- of a model that was closed there is nothing
end

--- Gives back the pages of requests that have ended.
function beside.sweep()
  for held, request in pairs(alive) do
    if request.state == "done" then
      alive[held] = nil
      for _, name in ipairs { "cache", "branches" } do
        beside.release(held[name])
        held[name] = nil
      end
    end
  end
end

return beside
