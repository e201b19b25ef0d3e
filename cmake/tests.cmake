# Tests. Every file is a ctest of its own: tests/<area>/<name>_test.cpp becomes <area>.<name>, in
# the executable tests_<area>; tests/lua/<name>_spec.lua becomes lua.<name>; and
# tests/shell/<name>_test.sh becomes shell.<name>. Exit status 77 is a skip.
# Labels: the area; `sanitize` for what is also run under the sanitizers; `heavy` for what takes more
# than ten seconds; `emulator` for what runs CUDA kernels in the order that PERILUNE_EMULATOR_ORDER
# names (tests/campaign.sh runs all three).

find_package(Catch2 REQUIRED)
# The judge of our reading of .model files.
pkg_check_modules(SENTENCEPIECE REQUIRED IMPORTED_TARGET sentencepiece)

# Catch2's own code, compiled once for all executables.
add_library(tests_main OBJECT tests/main.cpp)
target_include_directories(tests_main PUBLIC ${CMAKE_SOURCE_DIR})
target_link_libraries(tests_main PUBLIC Catch2::Catch2 PRIVATE perilune_flags)
target_compile_options(tests_main PRIVATE -O0)  # its speed does not matter, its compilation does

set(PERILUNE_TIERS scalar v2 avx2 avx512)
# Too long to be run again under a sanitizer, or without meaning there; full test names.
# (The other tiers' attention tests run the scalar one too, as what they are held against.)
# (lua.faults_progress: every verb at work, three minutes of it; engine.long_work is what it looks at.)
# (shell.ranks: what Open MPI leaves behind at its end is not ours; engine.ranks runs the same with threads.)
set(PERILUNE_NOT_SANITIZED shell.tier_symbols shell.ranks lua.faults_progress kernels.attention.scalar
                           kernels.attention_bits.scalar)

# Seconds of processor time of the longest ones, as measured; they begin first, so that no core waits
# at the end.
set(PERILUNE_HEAVY
    kernels.attention_bits.emulator 75
    lua.invariance 60
    lua.device 45
    cuda.choice 8
    lua.padding 11
    lua.padding_answers 11
    lua.quantization_search 38
    kernels.attention.emulator 16
    kernels.linear.emulator 60
    kernels.linear.scalar 15
    kernels.attention_bits.scalar 50
    kernels.coded_linear.scalar 28
    lua.quantize 20
    text.tokenizer_damage 12
    lua.pressure 20
    lua.device_map 20)
# A test may take this much processor time, which a busy machine does not change; and this much time
# by the clock, for one that waits for ever.
set(PERILUNE_CPU_SECONDS 300)
set(PERILUNE_WALL_SECONDS 1800)
if(PERILUNE_SANITIZE)
  set(PERILUNE_CPU_SECONDS 900)
  set(PERILUNE_WALL_SECONDS 3600)
endif()

# perilune_add_test(<name> <command>...)
function(perilune_add_test name)
  add_test(NAME ${name} COMMAND sh "${CMAKE_SOURCE_DIR}/tests/limited.sh" ${PERILUNE_CPU_SECONDS}
                                ${ARGN})
endfunction()

set(asan_options "ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1")
set(test_environment
    "PERILUNE=$<TARGET_FILE_DIR:perilune_shared>/perilune"
    "PERILUNE_LIBRARY_DIR=$<TARGET_FILE_DIR:perilune_shared>"
    "PERILUNE_SANITIZE=${PERILUNE_SANITIZE}"
    "CXX=${CMAKE_CXX_COMPILER}"
    "${asan_options}:detect_stack_use_after_return=1"
    "LSAN_OPTIONS=report_objects=1:print_suppressions=0:suppressions=${CMAKE_SOURCE_DIR}/tests/leaks.txt"
    "UBSAN_OPTIONS=print_stacktrace=1")

if(PERILUNE_SANITIZE)
  # A tenth of the random batches is enough where each takes ten times as long.
  list(APPEND test_environment "PERILUNE_COMPOSITIONS=100")
endif()

# perilune_test_properties(<test> <label> [<environment entry>...])
function(perilune_test_properties test label)
  set(labels ${label})
  # allocations.* replace operator new, which is what the sanitizer does.
  if(NOT test IN_LIST PERILUNE_NOT_SANITIZED AND NOT test MATCHES "^allocations\\.")
    list(APPEND labels sanitize)
  endif()
  set(cost 1)
  list(FIND PERILUNE_HEAVY ${test} place)
  if(place GREATER_EQUAL 0)
    list(APPEND labels heavy)
    math(EXPR place "${place} + 1")
    list(GET PERILUNE_HEAVY ${place} cost)
  endif()
  if(test MATCHES "emulator")
    list(APPEND labels emulator)
  endif()
  set(environment ${test_environment} ${ARGN})
  if(test MATCHES "emulator|devices|^cuda|^lua\\.(device|device_choices|device_map|graphs|refusals|gpu_faults|row_lengths)$")
    # A second stack for each of thousands of emulated threads takes a hundred times as long.
    list(APPEND environment "${asan_options}:detect_stack_use_after_return=0")
  endif()
  set_tests_properties(${test} PROPERTIES
    LABELS "${labels}" SKIP_RETURN_CODE 77 TIMEOUT ${PERILUNE_WALL_SECONDS} COST ${cost}
    WORKING_DIRECTORY "${CMAKE_SOURCE_DIR}"
    ENVIRONMENT "${environment}")
endfunction()

# perilune_cpp_tests(<area> <library>...): one executable for the folder, one ctest for each file.
function(perilune_cpp_tests area)
  set(target tests_${area})
  perilune_glob(sources tests/${area}/*.cpp)
  add_executable(${target} ${sources})
  # Every executable asks the kernels which tiers there are.
  target_link_libraries(${target} PRIVATE perilune_flags tests_main ${ARGN} perilune_kernels
                                          nlohmann_json::nlohmann_json)
  set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests")
  if(PERILUNE_SANITIZE)
    target_compile_options(${target} PRIVATE -O0)  # Catch's expressions take twice as long at -O1
  endif()
  foreach(source ${sources})
    get_filename_component(file "${source}" NAME_WE)
    if(NOT file MATCHES "^(.+)_test$")
      continue()
    endif()
    set(name "${CMAKE_MATCH_1}")
    if(area STREQUAL "kernels")
      set(cases "[#${file}]")
      if(PERILUNE_SANITIZE)
        # Long, for bits alone: the other cases reach the same memory.
        string(APPEND cases "~[bits]")
      endif()
      foreach(tier ${PERILUNE_TIERS})
        perilune_add_test(${area}.${name}.${tier} $<TARGET_FILE:${target}> "-#" "${cases}")
        perilune_test_properties(${area}.${name}.${tier} ${area} "PERILUNE_CPU=${tier}")
      endforeach()
      # The CUDA kernels.
      perilune_add_test(${area}.${name}.emulator $<TARGET_FILE:${target}> "-#" "${cases}")
      perilune_test_properties(${area}.${name}.emulator ${area} "PERILUNE_KERNELS=emulator")
    else()
      perilune_add_test(${area}.${name} $<TARGET_FILE:${target}> "-#" "[#${file}]")
      perilune_test_properties(${area}.${name} ${area})
    endif()
  endforeach()
endfunction()

perilune_glob(cpp_test_files tests/*/*_test.cpp)
set(areas "")
foreach(file ${cpp_test_files})
  get_filename_component(folder "${file}" DIRECTORY)
  get_filename_component(area "${folder}" NAME)
  list(APPEND areas ${area})
endforeach()
list(REMOVE_DUPLICATES areas)
foreach(area ${areas})
  if(area STREQUAL "kernels")
    perilune_cpp_tests(kernels perilune_kernels)
    target_sources(tests_kernels PRIVATE $<TARGET_OBJECTS:perilune_emulated>)
    # The way by which a GPU runs them (tests/gpu/day.sh): a plug-in's table, memory that both see.
    add_dependencies(tests_kernels perilune_emulator)
    target_link_libraries(tests_kernels PRIVATE ${CMAKE_DL_LIBS})
    perilune_add_test(kernels.plugin $<TARGET_FILE:tests_kernels> "-#" "[#rows_test]")
    perilune_test_properties(kernels.plugin kernels "PERILUNE_KERNELS=plugin-emulator")
  elseif(area STREQUAL "cuda")
    perilune_cpp_tests(cuda perilune_engine)
    target_sources(tests_cuda PRIVATE $<TARGET_OBJECTS:perilune_emulated>)
    target_compile_definitions(tests_cuda PRIVATE PERILUNE_EMULATOR)
    target_compile_options(tests_cuda PRIVATE -Wno-unknown-pragmas)
    add_dependencies(tests_cuda perilune_emulator)  # loaded as a plug-in
    # GPUs that fail on demand, as the plug-in "cuda".
    add_library(fake_gpu MODULE tests/cuda/fake/fake_gpu.cpp
                "$<FILTER:$<TARGET_OBJECTS:perilune_emulated>,EXCLUDE,emulator_backend>")
    set_target_properties(fake_gpu PROPERTIES
      OUTPUT_NAME perilune_cuda LIBRARY_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests/fake_gpu")
    target_include_directories(fake_gpu PRIVATE ${CMAKE_SOURCE_DIR})
    target_link_libraries(fake_gpu PRIVATE perilune_flags)
    target_compile_definitions(tests_cuda PRIVATE
      "PERILUNE_FAKE_GPU=\"$<TARGET_FILE_DIR:fake_gpu>\"")
    # One that an older engine was built with.
    add_library(old_plugin MODULE tests/cuda/fake/old_plugin.cpp)
    set_target_properties(old_plugin PROPERTIES
      OUTPUT_NAME perilune_cuda LIBRARY_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests/old_plugin")
    target_include_directories(old_plugin PRIVATE ${CMAKE_SOURCE_DIR})
    target_compile_options(old_plugin PRIVATE -Wno-missing-field-initializers)
    target_compile_definitions(tests_cuda PRIVATE
      "PERILUNE_OLD_PLUGIN=\"$<TARGET_FILE_DIR:old_plugin>\"")
    # A driver that is too old, or shows no GPU.
    add_library(fake_driver MODULE tests/cuda/fake/fake_driver.c)
    set_target_properties(fake_driver PROPERTIES
      OUTPUT_NAME cuda SUFFIX .so.1 LIBRARY_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests/fake_driver")
    add_library(fake_nccl MODULE tests/cuda/fake/fake_nccl.c)
    set_target_properties(fake_nccl PROPERTIES
      OUTPUT_NAME nccl SUFFIX .so.2 LIBRARY_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests/fake_nccl")
    add_dependencies(tests_cuda fake_gpu fake_driver fake_nccl old_plugin)
  elseif(area STREQUAL "text")
    perilune_cpp_tests(text perilune_engine PkgConfig::SENTENCEPIECE)
  elseif(area STREQUAL "repl")
    perilune_cpp_tests(repl perilune_editor perilune_lua)
  elseif(area MATCHES "^(engine|allocations)$")
    perilune_cpp_tests(${area} perilune_engine)
  else()
    perilune_cpp_tests(${area} perilune_lua)
  endif()
endforeach()

# What the compiled CUDA kernels use of a GPU; needs no GPU.
if(TARGET perilune_cuda)
  perilune_add_test(cuda.resources sh tests/cuda/resource_usage_test.sh)
  perilune_test_properties(cuda.resources cuda
                           "PERILUNE_CUDA_LIBRARY=$<TARGET_FILE:perilune_cuda>")
endif()

# The layers' arrows, read from the sources.
if(EXISTS "${CMAKE_SOURCE_DIR}/tests/layout_test.cpp")
  add_executable(tests_layout tests/layout_test.cpp tests/layout_rooms_test.cpp
                 tests/layout_sources.cpp)
  target_link_libraries(tests_layout PRIVATE perilune_flags tests_main perilune_kernels)
  set_target_properties(tests_layout PROPERTIES
                        RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests")
  perilune_add_test(layout $<TARGET_FILE:tests_layout>)
  perilune_test_properties(layout layout)
endif()

# Hosts of the C interface, in C and in C++: tests/c/<name>.c becomes c.<name>.
perilune_glob(host_tests tests/c/*.c tests/c/*.cpp)
foreach(source ${host_tests})
  get_filename_component(name "${source}" NAME_WE)
  add_executable(c_${name} ${source})
  target_link_libraries(c_${name} PRIVATE Threads::Threads ${CMAKE_DL_LIBS} m)
  if(name STREQUAL "reload")  # opens the library itself
    target_include_directories(c_${name} PRIVATE "${CMAKE_SOURCE_DIR}/bindings/c")
    add_dependencies(c_${name} perilune_shared)
  else()
    target_link_libraries(c_${name} PRIVATE perilune_shared)
  endif()
  target_compile_options(c_${name} PRIVATE -Wall -Wextra -Wno-missing-field-initializers)
  if(PERILUNE_SANITIZE)
    target_compile_options(c_${name} PRIVATE -fsanitize=${PERILUNE_SANITIZE})
    target_link_options(c_${name} PRIVATE -fsanitize=${PERILUNE_SANITIZE})
  endif()
  set_target_properties(c_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests"
                                             C_STANDARD 11 C_STANDARD_REQUIRED ON
                                             C_EXTENSIONS ON)
  set(environment "PERILUNE_DEVICE=cpu" "PERILUNE_LIBRARY=$<TARGET_FILE:perilune_shared>")
  if(name MATCHES "^(session|threads)$")
    # GCC 12's leak checker may itself fault at the end of a process whose worker threads ended.
    list(APPEND environment
         "ASAN_OPTIONS=detect_leaks=0:strict_string_checks=1:detect_stack_use_after_return=1")
  endif()
  perilune_add_test(c.${name} $<TARGET_FILE:c_${name}>)
  perilune_test_properties(c.${name} c ${environment})
endforeach()

# The C interface as its debugging information tells it: functions, their parameters, structs (tests/shell/interface_test.sh).
find_program(PERILUNE_ABIDIFF abidiff)
mark_as_advanced(PERILUNE_ABIDIFF)
if(PERILUNE_ABIDIFF AND NOT PERILUNE_SANITIZE)
  add_library(interface_described SHARED ${c_sources})
  target_include_directories(interface_described PRIVATE ${CMAKE_SOURCE_DIR} ${LUAJIT_INCLUDE_DIRS})
  target_compile_definitions(interface_described PRIVATE PL_BUILD ${version_definitions})
  target_compile_options(interface_described PRIVATE -g -O0)
  target_link_libraries(interface_described PRIVATE perilune_flags)
  target_link_options(interface_described PRIVATE "-Wl,--version-script=${perilune_exports}")
  set_target_properties(interface_described PROPERTIES LIBRARY_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests")
endif()

find_program(PERILUNE_VALGRIND valgrind)
mark_as_advanced(PERILUNE_VALGRIND)
if(PERILUNE_VALGRIND AND NOT PERILUNE_SANITIZE)
  perilune_add_test(c.valgrind ${PERILUNE_VALGRIND} -q --error-exitcode=1 --leak-check=full
                    --errors-for-leak-kinds=definite $<TARGET_FILE:c_soak>)
  # It knows no AVX-512.
  perilune_test_properties(c.valgrind c "PERILUNE_DEVICE=cpu" "PERILUNE_CPU=v2" "PERILUNE_REQUESTS=40")
endif()

perilune_glob(lua_specs tests/lua/*_spec.lua)
list(FILTER lua_specs EXCLUDE REGEX "/run_spec\\.lua$")
perilune_glob(shell_tests tests/shell/*_test.sh)
foreach(source ${lua_specs})
  get_filename_component(name "${source}" NAME_WE)
  string(REGEX REPLACE "_spec$" "" name "${name}")
  file(RELATIVE_PATH path "${CMAKE_SOURCE_DIR}" "${source}")
  perilune_add_test(lua.${name} "$<TARGET_FILE_DIR:perilune_shared>/perilune"
                    tests/lua/run_spec.lua ${path})
  set(environment "PERILUNE_DEVICE=cpu")  # whatever the machine has
  if(name STREQUAL "device")
    set(environment "")
    if(PERILUNE_SANITIZE)
      set(environment "PERILUNE_COMPOSITIONS=6")  # emulated and sanitized
    endif()
  endif()
  if(name STREQUAL "pressure" AND PERILUNE_SANITIZE)
    list(APPEND environment "PERILUNE_PRESSURE=120")
  endif()
  if(name MATCHES "^(refusals|gpu_faults)$")
    set(environment "PERILUNE_PLUGINS=$<TARGET_FILE_DIR:fake_gpu>")
  endif()
  perilune_test_properties(lua.${name} lua ${environment})
endforeach()
# Allocations that fail on demand, to be preloaded.
add_library(failing_allocations MODULE tests/faults/failing_allocations.cpp)
target_link_libraries(failing_allocations PRIVATE perilune_flags ${CMAKE_DL_LIBS})
foreach(source ${shell_tests})
  get_filename_component(name "${source}" NAME_WE)
  string(REGEX REPLACE "_test$" "" name "${name}")
  file(RELATIVE_PATH path "${CMAKE_SOURCE_DIR}" "${source}")
  perilune_add_test(shell.${name} sh ${path})
  set(environment "")
  if(name STREQUAL "robust")
    set(environment "PERILUNE_FAILING_ALLOCATIONS=$<TARGET_FILE:failing_allocations>")
  endif()
  perilune_test_properties(shell.${name} shell ${environment})
endforeach()
