std = "luajit"
max_line_length = 160
unused_args = false
exclude_files = { "build" }
files["tests"] = { max_line_length = false }  -- the messages expected are long
files["tests/lua"] = { ignore = { "512" } }  -- loops left at once: dropping a stream is what they test
files["examples/hosts/love"] = { globals = { "love" } }
files["examples/hosts/neovim"] = { read_globals = { "vim" } }
files["stdlib/perilune/host/mod.lua"] = { ignore = { "121", "122" } }  -- it takes globals away
