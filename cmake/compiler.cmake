# Compiler flags, carried by the interface target `perilune_flags`.

add_library(perilune_flags INTERFACE)

# -ffp-contract=off: results must not depend on what the compiler chooses to fuse; fused
# multiply-add is used only where the source says so.
target_compile_options(perilune_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wnon-virtual-dtor -Woverloaded-virtual
  -Wno-missing-field-initializers
  -ffp-contract=off)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # A local may be named like a member (GCC's warning tells the two apart, Clang's does not); GCC 12
  # reports std::string's own operator+ (GCC bug 105329).
  target_compile_options(perilune_flags INTERFACE -Wshadow=local -Wno-restrict)
endif()
if(PERILUNE_WERROR)
  target_compile_options(perilune_flags INTERFACE -Werror)
endif()

set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG")
set(CMAKE_CXX_FLAGS_DEBUG "-O0 -g")
set(CMAKE_CXX_FLAGS_SANITIZE "-O1 -g1 -fno-omit-frame-pointer")  # lines, for stack traces

if(PERILUNE_SANITIZE)
  target_compile_options(perilune_flags INTERFACE
    -fsanitize=${PERILUNE_SANITIZE} -fno-sanitize-recover=all)
  target_link_options(perilune_flags INTERFACE -fsanitize=${PERILUNE_SANITIZE})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # Instrumented code confuses GCC's flow analysis.
    target_compile_options(perilune_flags INTERFACE -Wno-maybe-uninitialized)
  endif()
endif()

find_program(CCACHE_PROGRAM ccache)
mark_as_advanced(CCACHE_PROGRAM)
if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER "${CCACHE_PROGRAM}")
endif()
