# Sources are found by pattern, and looked for again at each build. A folder may be empty.

# perilune_glob(<variable> <pattern>...): the files that match, sorted, as absolute paths.
function(perilune_glob result)
  list(TRANSFORM ARGN PREPEND "${CMAKE_SOURCE_DIR}/")
  file(GLOB found CONFIGURE_DEPENDS ${ARGN})
  list(SORT found)
  set(${result} ${found} PARENT_SCOPE)
endfunction()

# perilune_static_library(<name> <source>...): a layer of the library.
function(perilune_static_library name)
  set(sources ${ARGN})
  if(NOT sources)
    set(sources "${CMAKE_BINARY_DIR}/empty/${name}.cpp")
    file(CONFIGURE OUTPUT "${sources}" CONTENT "// ${name} has no sources yet.\n")
  endif()
  add_library(${name} STATIC ${sources})
  target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE perilune_flags)
endfunction()

# perilune_tier_flags(<source>...): kernels/cpu/tier_<isa>.cpp is compiled for that instruction
# set, everything else for plain x86-64. The table is chosen at run time, so a tier file keeps all
# it defines in its own namespace: a shared inline function compiled here would reach old machines.
function(perilune_tier_flags)
  set(flags_v2 -march=x86-64-v2)
  set(flags_avx2 -march=x86-64-v3)
  set(flags_avx512 -march=x86-64-v4 -mavx512vnni -mavx512bf16)
  if(PERILUNE_SANITIZE AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # GCC's frames for use-after-return are aligned to 32 bytes, vectors of 64 then fault (GCC bug
    # 110027): this tier's frames stay on the stack.
    list(APPEND flags_avx512 --param asan-use-after-return=0)
  endif()
  foreach(source ${ARGN})
    if(source MATCHES "/tier_([a-z0-9]+)\\.cpp$")
      set(isa "${CMAKE_MATCH_1}")
      if(NOT DEFINED flags_${isa})
        message(FATAL_ERROR "${source}: no flags known for the instruction set ${isa}")
      endif()
      set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "${flags_${isa}}")
    endif()
  endforeach()
endfunction()
