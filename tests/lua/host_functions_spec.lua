-- What scripts have beside the engine: JSON, files, what a session prints, waiting, the version.
local pl = require "perilune"
local t = require "spec"

local json = pl.json

-- Text that is read and written again the same.
for _, text in ipairs { "null", "true", "0", "-7", "1.5", "9007199254740992", "1e+300", '""', '"a\\"b\\\\c\\n\\u0001é"', "[]", "{}", "[1, [2, {}]]",
  "[null, 1, null]", '{"a": [1, {"b": false}], "c": "x"}' } do
  t.test("read and written again: " .. text, function()
    t.equal(json.encode(json.decode(text, { null = json.null })), text)
  end)
end

t.test("null is nil in an object and keeps its place in a list", function()
  local value = json.decode '{"a": null, "b": [1, null]}'
  t.equal(value.a, nil)
  t.equal(#value.b, 2)
  t.equal(value.b[2], json.null)
  t.equal(tostring(json.null), "null")
  t.equal(json.decode("[null]", { null = false })[1], false)
  t.equal(json.decode "null", nil)
end)

t.test("objects keep their order on request", function()
  local text = '{"z": 1, "a": {"y": 2, "b": 3}, "m": 4}'
  local value = json.decode(text, { order = true })
  t.equal(json.encode(value), text)
  value.new, value.z = 5, nil
  t.equal(json.encode(value), '{"a": {"y": 2, "b": 3}, "m": 4, "new": 5}')
  t.equal(table.concat(json.names(value), " "), "a m new")
  t.equal(json.encode(json.decode(text)), '{"a": {"b": 3, "y": 2}, "m": 4, "z": 1}')
  t.equal(json.encode({ b = 1, a = 2, c = 3 }, { order = { "c", "b" } }), '{"c": 3, "b": 1, "a": 2}')
end)

t.test("lines and levels", function()
  t.equal(json.encode({ a = { 1 } }, { indent = 2 }), '{\n  "a": [\n    1\n  ]\n}')
  t.equal(json.encode(json.list {}), "[]")
end)

-- What cannot be read, and what is said of it.
for text, said in pairs { ["[1, 2"] = "json: line 1, column", ["{\n\"a\": tru}"] = "line 2, column", ['{"a": 1, "a": 2}'] = "twice", ["[NaN]"] = "column",
  [""] = "json", ["[1] x"] = "column", [("["):rep(100)] = "deep", ['"\\ud800"'] = "column" } do
  t.test("not JSON: " .. text:sub(1, 12), function()
    local value, err = pl.try(json.decode, text)
    t.equal(value, nil)
    t.equal(err.code, "format")
    t.ok(err.message:find(said, 1, true), err.message)
  end)
end

local knot = {}
knot.knot = knot
-- What cannot be written, and where it is.
for said, value in pairs { ["scores[2]: a NaN"] = { scores = { 1, 0 / 0 } }, ["an infinity"] = -math.huge, ["a.f: a function"] = { a = { f = print } },
  ["has a hole"] = { 1, nil, 3 }, ["nested too deeply"] = knot, ["a table with the key \"x\""] = { 1, x = 2 }, ["keys must be 1..n or names"] = { [1.5] = 1 } } do
  t.test("not for JSON: " .. said, function()
    local text, err = pl.try(json.encode, value)
    t.equal(text, nil)
    t.ok(err.message:find("json.encode: ", 1, true) == 1 and err.message:find(said, 1, true), err.message)
  end)
end

t.test("files and folders come and go", function()
  local folder = os.tmpname()
  t.equal(select(2, pl.files.exists(folder)), "file")
  t.equal(pl.files.remove(folder), true)
  t.equal(pl.files.exists(folder), false)
  t.equal(pl.files.remove(folder), false)
  pl.files.make_folder(folder .. "/b/c")
  pl.files.make_folder(folder .. "/a")
  t.equal(select(2, pl.files.exists(folder)), "folder")
  t.equal(table.concat(pl.files.list(folder), " "), "a b")
  local _, err = pl.try(pl.files.remove, folder)
  t.equal(err.code, "file")
  t.ok(err.message:find("all = true", 1, true), err.message)
  t.equal(pl.files.remove(folder, { all = true }), true)
  _, err = pl.try(pl.files.list, folder)
  t.ok(err.message:find("files.list: " .. folder, 1, true) == 1, err.message)
  _, err = pl.try(pl.files.make_folder, "/proc/here/not")
  t.equal(err.op, "files.make_folder")
end)

t.test("show gives what a session prints, within limits", function()
  t.equal(pl.show { 1, 2, x = "y" }, '{ 1, 2, x = "y" }')
  t.equal(pl.show "a\nb", '"a\\nb"')
  t.equal(pl.show({ a = { b = { c = 1 } } }, { depth = 2 }), "{ a = { b = { c = 1 } } }")
  t.equal(pl.show({ a = { b = { c = 1 } } }, { depth = 0 }), "{ a = { … 1 table } }")
  t.equal(pl.show({ a = {}, b = { {} } }, { depth = 0 }), "{ a = {}, b = { … 1 table } }")
  local cycle = { 1, list = { "a", "b", { 2 } } }
  cycle.own, cycle.list[4] = cycle, cycle.list
  t.equal(pl.show(cycle, { depth = 3 }), '{ 1, list = { "a", "b", { 2 }, { … again } }, own = { … again } }')
  t.equal(pl.show({ list = { "a", "b" }, 1, 2, 3, 4 }, { depth = 0 }), "{ 1, 2, 3, 4, list = { … 2 strings } }")
  t.equal(pl.show({ a = { b = { "cccc", "dddd" } } }, { depth = 3, width = 16 }), '{\n  a = {\n    b = {\n      [1] "cccc",\n      [2] "dddd",\n    },\n  },\n}')
  t.ok(pl.show(pl.devices()):find('\n    name = "cpu",', 1, true), pl.show(pl.devices()))
  t.equal(pl.show("abcdef", { text = 2 }), '"ab" … (6 bytes)')
  t.ok(pl.show({ 1, 2, 3, x = 1 }, { entries = 2 }):find "2 more")
  t.ok(pl.show({ "aaaa", "bbbb" }, { width = 10 }):find "\n")
  t.ok(pl.show(pl.ones { 2 }):find "Tensor f32")
  local _, err = pl.try(pl.show, 1, { widht = 3 })
  t.ok(err.message:find("width", 1, true), err.message)
end)

t.test("sleep waits by the clock and refuses what is no time", function()
  local start = pl.clock()
  pl.sleep(0.03)
  local took = pl.clock() - start
  t.ok(took >= 0.03 and took < 5, took)
  pl.sleep(0)
  for _, bad in ipairs { -1, 0 / 0, "1", math.huge } do t.equal(pl.try(pl.sleep, bad), nil) end
end)

t.test("the version is three numbers", function() t.ok(pl.version:find "^%d+%.%d+%.%d+$") end)
