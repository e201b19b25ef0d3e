# cmake -DINPUT=file.lua -DOUTPUT=file.inc -P embed_file.cmake: the file as C string literals, every
# byte escaped, so that no content can end a literal early.
file(READ "${INPUT}" hex HEX)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "\\\\x\\1" text "${hex}")
string(REPEAT "\\\\x[0-9a-f][0-9a-f]" 24 line)
string(REGEX REPLACE "(${line})" "\\1\"\n\"" text "${text}")
file(WRITE "${OUTPUT}" "\"${text}\"\n")
