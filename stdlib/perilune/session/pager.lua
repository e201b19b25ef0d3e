-- A long text a screen at a time, where a person reads.
local pager = {}

local around = 2  -- rows of the question, and one to see where it went on

--- Prints a text; on a terminal that is lower than it, with a question after each screen. What is answered other than Enter
--- or q is run as a line.
---@param session table
---@param text string
function pager.show(session, text)
  local rows = session.host.rows and session.host.rows()
  local lines = {}
  for line in (text .. "\n"):gmatch "(.-)\n" do lines[#lines + 1] = line end
  if not rows or #lines < rows then return print(text) end
  local page, at = math.max(1, rows - around), 1
  while at <= #lines do
    local last = math.min(at + page - 1, #lines)
    print(table.concat(lines, "\n", at, last))
    at = last + 1
    if at <= #lines then
      local answer = session.host.read(("-- %d of %d lines; Enter: more, q: stop -- > "):format(last, #lines))
      if answer == nil or answer == "q" then return end
      if answer:find "%S" then
        session:line(answer)
        return
      end
    end
  end
end

return pager
