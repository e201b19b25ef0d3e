--- perilune tests/lua/run_spec.lua SPEC.lua [PATTERN]: runs a spec's tests, of which only those
--- whose name matches PATTERN when it is given. A line a test; exit status 1 when one fails, 77 when
--- all were skipped.
local here = arg[0]:match("^(.*)/[^/]*$") or "."
package.path = here .. "/?.lua;" .. package.path

local spec = require "spec"

local path, pattern = arg[1], arg[2]
if not path then error("usage: perilune tests/lua/run_spec.lua SPEC.lua [PATTERN]", 0) end
local name = path:match("([^/]+)%.lua$") or path

local passed, failed, skipped = 0, 0, 0

local function log_line(line)
  local log = os.getenv("PERILUNE_SKIP_LOG")
  local file = log and log ~= "" and io.open(log, "a")
  if file then
    file:write(line, "\n")
    file:close()
  end
end

local function skip(test, reason)
  skipped = skipped + 1
  local line = name .. ": " .. test .. ": " .. reason
  print("skipped: " .. line)
  log_line(line)
end

-- Error tables print as their message; the traceback is for everything but a skip.
local function explain(raised)
  if spec.skip_reason(raised) then return raised end
  return { text = debug.traceback(tostring(raised), 2) }
end

local function run(test, fn)
  local fine, raised = xpcall(fn, explain)
  if fine then return true end
  local reason = spec.skip_reason(raised)
  if reason then
    skip(test, reason)
    return nil
  end
  failed = failed + 1
  print("FAILED:  " .. test .. "\n  " .. raised.text:gsub("\n", "\n  "))
  return false
end

if run("the file", function() assert(loadfile(path))() end) then
  for _, test in ipairs(spec.tests) do
    if not pattern or test.name:find(pattern) then
      if run(test.name, test.fn) then
        passed = passed + 1
        print("ok:      " .. test.name)
      end
      collectgarbage()
    end
  end
end

print(("%s: %d passed, %d failed, %d skipped"):format(name, passed, failed, skipped))
io.stdout:flush()
-- A file that hardly ran must not look like one that passed: tests/run.sh repeats this at its end.
if failed == 0 and skipped >= 3 * passed and skipped > 0 then
  log_line(("hollow: %s: %d of %d cases ran"):format(name, passed, passed + skipped))
end
-- `true` closes the Lua state, so that a leak checker sees what is really lost.
if failed > 0 or passed + skipped == 0 then os.exit(1, true) end
if passed == 0 then os.exit(77, true) end
