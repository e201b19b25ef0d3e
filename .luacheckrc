std = "luajit"
max_line_length = 160
unused_args = false
exclude_files = { "build" }
files["tests"] = { max_line_length = false }  -- the messages expected are long
files["tests/lua"] = { ignore = { "512" } }  -- loops left at once: dropping a stream is what they test
