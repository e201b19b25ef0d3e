# Turns each stdlib/**/*.lua into bytes inside the library (bindings/lua/host/embedded_stdlib.h).

# perilune_embed_stdlib(<target>)
function(perilune_embed_stdlib target)
  set(root "${CMAKE_SOURCE_DIR}/stdlib")
  set(out "${CMAKE_BINARY_DIR}/stdlib")
  set(script "${CMAKE_SOURCE_DIR}/bindings/lua/host/embed/embed_file.cmake")
  file(GLOB_RECURSE files CONFIGURE_DEPENDS "${root}/*.lua")
  list(SORT files)
  set(arrays "")
  set(rows "")
  set(count 0)
  foreach(file ${files})
    file(RELATIVE_PATH path "${root}" "${file}")
    set(bytes "${out}/${path}.inc")
    add_custom_command(
      OUTPUT "${bytes}"
      COMMAND ${CMAKE_COMMAND} -DINPUT=${file} -DOUTPUT=${bytes} -P ${script}
      DEPENDS "${file}" "${script}"
      COMMENT "Embedding stdlib/${path}"
      VERBATIM)
    string(REGEX REPLACE "(/init)?\\.lua$" "" name "${path}")
    string(REPLACE "/" "." name "${name}")
    string(APPEND arrays "constexpr unsigned char kSource${count}[] =\n#include \"${path}.inc\"\n    ;\n")
    string(APPEND rows "    {\"${name}\", \"stdlib/${path}\", kSource${count}, sizeof(kSource${count}) - 1},\n")
    math(EXPR count "${count} + 1")
    target_sources(${target} PRIVATE "${bytes}")
  endforeach()
  if(count EQUAL 0)
    set(rows "    {nullptr, nullptr, nullptr, 0},\n")
  endif()
  set(module_count ${count})
  configure_file("${CMAKE_SOURCE_DIR}/bindings/lua/host/embed/embedded_stdlib.cpp.in"
                 "${out}/embedded_stdlib.cpp" @ONLY)
  target_sources(${target} PRIVATE "${out}/embedded_stdlib.cpp")
  # The standard asks compilers for no more than 65,536 characters in a literal.
  set_source_files_properties("${out}/embedded_stdlib.cpp" PROPERTIES
                              INCLUDE_DIRECTORIES "${out}"
                              COMPILE_OPTIONS "-Wno-overlength-strings")
endfunction()
