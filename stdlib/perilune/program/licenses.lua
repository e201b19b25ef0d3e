-- What `perilune --licenses` prints: whose work is in the library and the program, under which terms.
local licenses = {}

local mit = [[
Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.]]

-- name, terms, how it comes along, notice
licenses.list = {
  { "Perilune", "Apache-2.0", "all of the sources; the text is LICENSE, beside README.md where it was installed" },
  { "LuaJIT", "MIT", "the system's library; linked in where a host links libperilune.a",
    "Copyright (C) 2005-2022 Mike Pall. All rights reserved.\nCopyright (C) 1994-2012 Lua.org, PUC-Rio." },
  { "JSON for Modern C++", "MIT", "compiled in", "Copyright (c) 2013-2022 Niels Lohmann" },
  { "utf8proc", "MIT", "the system's library" },
  { "libpng", "PNG Reference Library License", "the system's library" },
  { "libjpeg-turbo", "IJG and BSD", "the system's library; this software is based in part on the work of the Independent JPEG Group" },
  { "PCRE2", "BSD-3-Clause", "the system's library" },
  { "libsndfile", "LGPL-2.1 or later", "the system's library" },
  { "libsoxr", "LGPL-2.1 or later", "the system's library" },
  { "kissfft", "BSD-3-Clause", "the system's library" },
  { "zlib", "Zlib", "the system's library" },
  { "the C++ runtime of GCC", "GPL-3.0 with the runtime library exception", "the system's library" },
}

--- The whole text.
---@return string
function licenses.text()
  local lines = {}
  for _, entry in ipairs(licenses.list) do
    lines[#lines + 1] = ("%-24s %s: %s"):format(entry[1], entry[2], entry[3])
    for line in (entry[4] or ""):gmatch "[^\n]+" do lines[#lines + 1] = (" "):rep(25) .. line end
  end
  return table.concat(lines, "\n") .. "\n\nThe MIT licence:\n\n" .. mit .. "\n"
end

return licenses
