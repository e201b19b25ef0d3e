# The CUDA kernels as a plug-in beside the program, libperilune_cuda.so: device="cuda". Made where
# nvcc is found; neither the program nor its other tests need it. nvcc is run by custom commands,
# since the same .cu files are plain C++ to CMake, for the emulator (cmake/emulator.cmake).

set(PERILUNE_CUDA AUTO CACHE STRING "Build libperilune_cuda.so: AUTO (where nvcc is found), ON, OFF")
set_property(CACHE PERILUNE_CUDA PROPERTY STRINGS AUTO ON OFF)

if(PERILUNE_CUDA STREQUAL "AUTO" AND PERILUNE_SANITIZE)
  return()  # sanitizers look at the emulated kernels
endif()
if(NOT PERILUNE_CUDA STREQUAL "AUTO" AND NOT PERILUNE_CUDA)
  return()
endif()

find_program(PERILUNE_NVCC nvcc HINTS ENV CUDA_PATH ENV CUDA_HOME PATHS /usr/local/cuda
             PATH_SUFFIXES bin DOC "The CUDA compiler")
if(PERILUNE_NVCC)
  get_filename_component(cuda_root "${PERILUNE_NVCC}" REALPATH)
  get_filename_component(cuda_root "${cuda_root}/../.." ABSOLUTE)
  find_path(PERILUNE_CUDA_INCLUDE cuda_runtime.h
            HINTS "${cuda_root}/include" "${cuda_root}/targets/x86_64-linux/include")
  find_library(PERILUNE_CUDART cudart_static
               HINTS "${cuda_root}" PATH_SUFFIXES lib64 lib targets/x86_64-linux/lib)
endif()
mark_as_advanced(PERILUNE_NVCC PERILUNE_CUDA_INCLUDE PERILUNE_CUDART)
if(NOT PERILUNE_NVCC OR NOT PERILUNE_CUDA_INCLUDE OR NOT PERILUNE_CUDART)
  if(NOT PERILUNE_CUDA STREQUAL "AUTO")
    message(FATAL_ERROR "PERILUNE_CUDA=${PERILUNE_CUDA}: nvcc, cuda_runtime.h or cudart_static is "
                        "missing; say where with CUDA_PATH, or set PERILUNE_CUDA=OFF")
  endif()
  message(STATUS "No CUDA toolkit: libperilune_cuda.so is left out")
  return()
endif()
message(STATUS "CUDA kernels compiled by ${PERILUNE_NVCC}")

# Code for both, and PTX that newer GPUs compile. --fmad=false: fused multiply-add only where the
# source says so, as everywhere else.
set(cuda_flags
    -std=c++20 --fmad=false -Werror all-warnings
    -gencode arch=compute_80,code=sm_80
    -gencode "arch=compute_90,code=[sm_90,compute_90]"
    -ccbin "${CMAKE_CXX_COMPILER}"
    -Xcompiler=-fPIC,-fvisibility=hidden,-fvisibility-inlines-hidden,-Wall,-Wextra
    "-I${CMAKE_SOURCE_DIR}")
set(cuda_objects "")
foreach(source ${perilune_cuda_kernels})
  file(RELATIVE_PATH name "${CMAKE_SOURCE_DIR}" "${source}")
  set(object "${CMAKE_BINARY_DIR}/cuda_objects/${name}.o")
  get_filename_component(folder "${object}" DIRECTORY)
  file(MAKE_DIRECTORY "${folder}")
  add_custom_command(
    OUTPUT "${object}"
    COMMAND ${CMAKE_CXX_COMPILER_LAUNCHER} "${PERILUNE_NVCC}" ${cuda_flags}
            -MD -MF "${object}.d" -c "${source}" -o "${object}"
    DEPENDS "${source}" DEPFILE "${object}.d"
    COMMENT "nvcc ${name}" VERBATIM)
  list(APPEND cuda_objects "${object}")
endforeach()

perilune_glob(cuda_sources kernels/cuda/*.cpp)
add_library(perilune_cuda SHARED ${cuda_sources} ${cuda_objects})
set_source_files_properties(${cuda_objects} PROPERTIES EXTERNAL_OBJECT TRUE GENERATED TRUE)
target_include_directories(perilune_cuda PRIVATE ${CMAKE_SOURCE_DIR})
target_include_directories(perilune_cuda SYSTEM PRIVATE "${PERILUNE_CUDA_INCLUDE}")
target_link_libraries(perilune_cuda PRIVATE perilune_flags "${PERILUNE_CUDART}" Threads::Threads
                                            ${CMAKE_DL_LIBS} rt)
target_link_options(perilune_cuda PRIVATE -Wl,--no-undefined -Wl,--exclude-libs,ALL)
