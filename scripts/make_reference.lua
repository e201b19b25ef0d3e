-- Prints docs/reference.md: perilune scripts/make_reference.lua > docs/reference.md
io.write(require("perilune.help.documentation_page").text(require "perilune.commands"))
