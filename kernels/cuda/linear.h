// The entries of the kernel table that multiply by weights, and how weights are packed for them.
#pragma once

#include <cstddef>

#include "kernels/kernel_table.h"

namespace perilune::kernels::cuda {

// pack.cu, embedding.cu
std::size_t packed_bytes(WeightFormat source, std::int64_t outputs, std::int64_t inputs, MathMode);
WeightFormat packed_format(WeightFormat source, MathMode math);
void pack(const Launch& on, const PackArguments& arguments);
void unpack_rows(const Launch& on, const PackedMatrix& matrix, const std::int64_t* rows,
                 std::int64_t count, float* out);
void embedding(const Launch& on, const EmbeddingArguments& arguments);

// linear.cu
std::size_t linear_scratch(const LinearArguments& arguments, int threads);
void linear(const Launch& on, const LinearArguments& arguments);

// matmul.cu
void matmul(const Launch& on, const MatmulArguments& arguments);

}  // namespace perilune::kernels::cuda
