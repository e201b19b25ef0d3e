-- Texts as whole files, for the scripts beside this one.
local whole_file = {}

---@param path string
---@return string
function whole_file.read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

---@param path string
---@param text string
function whole_file.write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

return whole_file
