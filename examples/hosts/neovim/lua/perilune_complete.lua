-- Completes the text of a buffer while one goes on editing: a few milliseconds of each turn of the editor's loop go to
-- the model. Neovim's own LuaJIT loads perilune.so.
--
--   require("perilune_complete").setup { model = "smollm2", max_new_tokens = 40 }
--   :PeriluneComplete      at the cursor;  :PeriluneStop      ends it
local complete = { options = { model = "scripts/models/tales", max_new_tokens = 40, budget_ms = 3, pause_ms = 5 }, running = {} }

local pl, engine

local function model_engine()
  if not engine then
    pl = require "perilune"
    engine = pl.engine(pl.load(complete.options.model))
  end
  return engine
end

-- Puts a piece where the last one ended; the place moves with what is typed before it.
local function insert(job, piece)
  if not vim.api.nvim_buf_is_valid(job.buffer) then return false end
  local at = vim.api.nvim_buf_get_extmark_by_id(job.buffer, complete.namespace, job.mark, {})
  vim.api.nvim_buf_set_text(job.buffer, at[1], at[2], at[1], at[2], vim.split(piece, "\n", { plain = true }))
  return true
end

local function finish(job)
  complete.running[job.line.id] = nil
  if vim.api.nvim_buf_is_valid(job.buffer) then vim.api.nvim_buf_del_extmark(job.buffer, complete.namespace, job.mark) end
end

local function turn()
  local e = model_engine()
  local fine, err = pcall(e.step, e, { budget_ms = complete.options.budget_ms })
  if not fine then vim.notify("perilune: " .. tostring(err), vim.log.levels.ERROR) end
  for request, event in e:events() do
    local job = complete.running[request.id]
    if job and event.kind == "token" and event.text ~= "" and not insert(job, event.text) then request:cancel() end
    if job and (event.kind == "done" or event.kind == "error") then finish(job) end
  end
  if fine and next(complete.running) then vim.defer_fn(turn, complete.options.pause_ms) else complete.turning = false end
end

--- Loads the model now, which stops the editor meanwhile; otherwise the first completion does.
function complete.load() model_engine() end

--- Begins to write at the cursor and returns at once.
function complete.complete()
  local buffer, cursor = vim.api.nvim_get_current_buf(), vim.api.nvim_win_get_cursor(0)
  local lines = vim.api.nvim_buf_get_lines(buffer, math.max(0, cursor[1] - 30), cursor[1], false)
  lines[#lines] = lines[#lines]:sub(1, cursor[2] + 1)
  local line = model_engine():submit(table.concat(lines, "\n"), { max_new_tokens = complete.options.max_new_tokens, do_sample = false })
  local mark = vim.api.nvim_buf_set_extmark(buffer, complete.namespace, cursor[1] - 1, #lines[#lines], { right_gravity = true })
  complete.running[line.id] = { line = line, buffer = buffer, mark = mark }
  if not complete.turning then
    complete.turning = true
    vim.defer_fn(turn, 0)
  end
end

--- Ends what is being written; what stands stays.
function complete.stop() for _, job in pairs(complete.running) do job.line:cancel() end end

function complete.setup(options)
  complete.options = vim.tbl_extend("force", complete.options, options or {})
  complete.namespace = vim.api.nvim_create_namespace "perilune"
  vim.api.nvim_create_user_command("PeriluneComplete", complete.complete, {})
  vim.api.nvim_create_user_command("PeriluneStop", complete.stop, {})
end

return complete
