// What every .cu file includes: CUDA C++ as nvcc knows it, or the emulator's stand-in for it when
// the same file is compiled by a plain C++ compiler (PERILUNE_EMULATOR). A kernel keeps to what is
// declared here and in ptx.h, so that it runs on both:
//   - started with launch(config, kernel, arguments...), never <<<>>>
//   - shared memory only through SharedArena and shared_array
//   - PTX only through ptx.h; __syncthreads, __syncwarp, __shfl_*_sync, votes and reductions with
//     explicit masks; no reliance on warps running in lock step
//   - no device globals, no float atomics, no waiting between blocks; of several blocks the one
//   that
//     arrives last may go on with what all have stored (attention_few.cu)
//   - fused multiply-add only where written (fmaf); nvcc is run with --fmad=false
#pragma once

#include <cstddef>
#include <cstdint>

#ifdef PERILUNE_EMULATOR
#include "kernels/cuda/emulator/cuda.h"
#else
#include <cuda_runtime.h>
#endif

#include "kernels/cuda/launch.h"
#include "kernels/cuda/ptx.h"
#include "kernels/cuda/shared_array.h"
#include "kernels/cuda/types.h"
