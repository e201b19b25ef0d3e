# Measurements: tests/bench/<name>.cpp is the program build/<preset>/bench/bench_<name>. Not part of
# `all`; the target `benches` builds them.

add_custom_target(benches)
perilune_glob(bench_sources tests/bench/*.cpp)
foreach(source ${bench_sources})
  get_filename_component(name "${source}" NAME_WE)
  add_executable(bench_${name} EXCLUDE_FROM_ALL ${source})
  target_include_directories(bench_${name} PRIVATE ${CMAKE_SOURCE_DIR})
  target_link_libraries(bench_${name} PRIVATE perilune_flags perilune_lua)
  set_target_properties(bench_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY
                                                 "${CMAKE_BINARY_DIR}/bench")
  add_dependencies(benches bench_${name})
endforeach()
