// Which errors of the CUDA runtime a device survives.
#pragma once

#include <cuda_runtime.h>

namespace perilune::kernels::cuda {

/// Whether the context is unusable (CUDA Runtime API, cudaError): what the call itself refused
/// passes, all else may stay.
inline bool poisons(cudaError_t status) {
  switch (status) {
    case cudaErrorMemoryAllocation:
    case cudaErrorInvalidValue:
    case cudaErrorInvalidDevice:
    case cudaErrorInvalidConfiguration:
    case cudaErrorInvalidDevicePointer:
    case cudaErrorInvalidDeviceFunction:
    case cudaErrorInvalidMemcpyDirection:
    case cudaErrorInvalidResourceHandle:
    case cudaErrorLaunchOutOfResources:
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorNotSupported:
    case cudaErrorNotPermitted:
    case cudaErrorNoDevice:
    case cudaErrorDevicesUnavailable:
    case cudaErrorInitializationError:
    case cudaErrorSystemNotReady:
    case cudaErrorSystemDriverMismatch:
    case cudaErrorInsufficientDriver: return false;
    default: return true;
  }
}

}  // namespace perilune::kernels::cuda
