// The activations of products, gates and elementwise operations: one function, so that a value has
// the same bits fused behind a product and on its own. The formulas of the scalar reference
// (kernels/cpu/scalar_rows.cpp), by the C library's functions; a NaN stays one.
#pragma once

#include "kernels/cuda/cuda.h"

namespace perilune::kernels::cuda {

__device__ __forceinline__ float sigmoid(float x) {
  return 1.0f / (1.0f + expf(-x));
}

/// activation(x). The switch costs nothing where the activation is a constant, and one uniform
/// branch where it is a kernel's argument. Activations of erf share its code: products of many rows
/// have no registers left for three copies.
__device__ __forceinline__ float activate(Activation activation, float x) {
  switch (activation) {
    case Activation::none: return x;
    case Activation::gelu:
    case Activation::gelu_10:
    case Activation::laplace: {
      const bool distribution = activation == Activation::laplace;
      const float z = distribution ? (x - 0.707107f) * kLaplaceScale : x * 0.70710678118654752f;
      const float y = 0.5f * (distribution ? 1.0f : x) * (1.0f + erff(z));
      if (activation != Activation::gelu_10) return y;
      return y < -10.0f ? -10.0f : (y > 10.0f ? 10.0f : y);
    }
    case Activation::gelu_tanh:
      return 0.5f * x * (1.0f + tanhf(0.7978845608028654f * (x + 0.044715f * x * x * x)));
    case Activation::quick_gelu: return x / (1.0f + expf(-1.702f * x));
    case Activation::relu: return x < 0.0f ? 0.0f : x;
    case Activation::silu: return x / (1.0f + expf(-x));
    case Activation::tanh: return tanhf(x);
    case Activation::sigmoid: return sigmoid(x);
    case Activation::relu2: return x < 0.0f ? 0.0f : x * x;
    case Activation::relu6: return x < 0.0f ? 0.0f : (x > 6.0f ? 6.0f : x);
    case Activation::leaky_relu: return x < 0.0f ? 0.01f * x : x;
    case Activation::mish: {
      const float e = expf(x < 20.0f ? x : 20.0f), n = e * (e + 2.0f);
      return x * (n / (n + 2.0f));
    }
  }
  return x;
}

}  // namespace perilune::kernels::cuda
