---@meta
-- What the engine itself gives: declarations for the reference, for ?name and for editors. Never run.

---@class Sound
---@field rate integer samples a second that the file holds
---@field channels integer that it holds; what is read is their mean
---@field format string "WAV, Signed 16 bit PCM", as libsndfile names it
---@field seconds number|nil nil where only reading to the end tells
local Sound = {}

--- The next samples, one channel at the rate that was asked for; nil at the end.
---
---     local path = os.tmpname() .. ".wav"
---     pl.sound.write(path, pl.zeros({ 16000 }, { axes = { "sample" } }))
---     local s = pl.sound.open(path)
---     print(s:read(12000).shape, s:read(12000).shape, s:read(12000))        --> [sample=12000]	[sample=4000]	nil
---     os.remove(path)
---@param most integer
---@return Tensor|nil samples f32 [sample]
function Sound:read(most) end

--- Closes the file.
---
---     local path = os.tmpname() .. ".wav"
---     pl.sound.write(path, pl.zeros({ 16000 }, { axes = { "sample" } }))
---     local s = pl.sound.open(path)
---     print(s.rate, s.channels)                                             --> 16000	1
---     s:close()
---     os.remove(path)
function Sound:close() end

return Sound
