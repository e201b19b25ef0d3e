# The CUDA kernels compiled as plain C++ and run by the emulator, as a plug-in beside the program:
# device="emulator". The same .cu files are compiled by nvcc in cmake/cuda.cmake.

perilune_glob(perilune_cuda_kernels kernels/cuda/*.cu)
perilune_glob(perilune_plugin_sources kernels/cuda/*.cpp)
list(FILTER perilune_plugin_sources EXCLUDE REGEX "/cuda_(backend|graph)\\.cpp$")  # the CUDA runtime's
perilune_glob(emulator_sources kernels/cuda/emulator/*.cpp)

set_source_files_properties(${perilune_cuda_kernels} PROPERTIES LANGUAGE CXX COMPILE_OPTIONS "-x;c++")
add_library(perilune_emulated OBJECT
            ${perilune_cuda_kernels} ${perilune_plugin_sources} ${emulator_sources})
target_include_directories(perilune_emulated PUBLIC ${CMAKE_SOURCE_DIR})
target_compile_definitions(perilune_emulated PUBLIC PERILUNE_EMULATOR)
target_compile_options(perilune_emulated PRIVATE -Wno-unknown-pragmas)  # nvcc's
target_link_libraries(perilune_emulated PRIVATE perilune_flags)

add_library(perilune_emulator SHARED $<TARGET_OBJECTS:perilune_emulated>)
target_link_libraries(perilune_emulator PRIVATE perilune_flags)
