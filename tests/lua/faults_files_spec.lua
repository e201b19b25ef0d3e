-- Writing files: only a regular file is ever replaced, and a failure leaves what was there.
local pl = require "perilune"
local core = require "perilune.core"
local t = require "spec"

local ones = pl.ones { 2 }
local folder = os.tmpname()
os.remove(folder)
core.make_directory(folder .. "/inner", "test")
core.write_file(folder .. "/plain", "what was there")
assert(os.execute(("ln -s plain '%s/link' && ln -s nowhere '%s/dangling' && mkfifo '%s/pipe'"):format(folder, folder, folder)) == 0)

local m = pl.load("tests/golden/llama-gqa", { threads = 1 })
local cache = m:cache()
m:forward({ { 1, 2 } }, { cache = cache })

local writers = {
  ["pl.save"] = function(path) pl.save(path, { a = ones }) end,
  ["cache:save"] = function(path) cache:save(path) end,
  ["core.write_file"] = function(path) core.write_file(path, "text") end,
}
local places = {
  { "/inner", "a folder" }, { "/link", "a link" }, { "/dangling", "a link" }, { "/pipe", "a device or pipe" },
}

for name, write in pairs(writers) do
  for _, place in ipairs(places) do
    t.test(("%s does not replace %s"):format(name, place[1]), function()
      local err = t.raises_table(function() write(folder .. place[1]) end, place[2])
      t.equal(err.code, "file")
      t.equal(core.read_file(folder .. "/plain"), "what was there")
    end)
  end
  t.test(name .. " does not replace a device", function()
    t.raises_table(function() write "/dev/null" end, "a device or pipe")
    local f = assert(io.open("/dev/null", "w"))
    f:close()
  end)
  t.test(name .. " makes a file and replaces it", function()
    local path = folder .. "/new"
    write(path)
    write(path)
    t.ok(core.file_exists(path))
    os.remove(path)
    for _, file in ipairs(core.list_directory(folder)) do t.ok(not file:find "%.part%-", file) end
  end)
end
