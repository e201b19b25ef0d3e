-- nvim --headless -u NONE -l: completes a buffer and types into it meanwhile; exits with 1 where the text is wrong or
-- the editor's loop stood still.
local complete = require "perilune_complete"
complete.setup { max_new_tokens = 24 }
complete.load()
vim.api.nvim_buf_set_lines(0, 0, -1, false, { "Once upon a time", "-- the end" })
vim.api.nvim_win_set_cursor(0, { 1, 15 })

local turns, worst, last = 0, 0, vim.loop.hrtime()
local timer = vim.loop.new_timer()
timer:start(1, 1, function()
  local now = vim.loop.hrtime()
  turns, worst, last = turns + 1, math.max(worst, (now - last) / 1e6), now
end)
vim.cmd "PeriluneComplete"
vim.api.nvim_buf_set_lines(0, 1, 2, false, { "-- typed meanwhile" })
local done = vim.wait(60000, function() return next(complete.running) == nil end, 5)
timer:stop()
local text = vim.api.nvim_buf_get_lines(0, 0, -1, false)
local wanted = "Once upon a time, a brave girl named Maya lived in a small house by the garden."
local fine = done and text[1]:sub(1, #wanted) == wanted and text[#text] == "-- typed meanwhile"
io.write(("%s\nturns of the editor's loop: %d, the longest %.1f ms\n"):format(table.concat(text, "\n"), turns, worst))
if not fine then vim.cmd "cquit 1" end
vim.cmd "qall!"
