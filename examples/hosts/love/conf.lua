-- The tavern in LÖVE: `love examples/hosts/love`, with perilune.so in package.cpath (TAVERN_CPATH adds a place).
function love.conf(t)
  t.identity = "perilune-tavern"
  t.window.title, t.window.width, t.window.height = "The tavern", 640, 360
  t.window.vsync = 0
  t.modules.audio, t.modules.joystick, t.modules.physics, t.modules.sound, t.modules.video = false, false, false, false, false
end
