// The entries of the kernel table that work element by element or row by row; what they compute is
// said in kernel_table.h. A row's bits depend on its width only: threads for a row and the tree
// they add in are chosen by the width, never by how many rows there are.
#pragma once

#include "kernels/kernel_table.h"

namespace perilune::kernels::cuda {

// rms_norm.cu
void rms_norm(const Launch& on, const NormArguments& arguments);
// norm.cu; of widths whose squares no product sums
void other_rms_norm(const Launch& on, const NormArguments& arguments);
void layer_norm(const Launch& on, const NormArguments& arguments);

// softmax.cu, scan.cu
void softmax(const Launch& on, const SoftmaxArguments& arguments);
void cumulative_sum(const Launch& on, const CumulativeSumArguments& arguments);

// elementwise.cu
void unary(const Launch& on, const UnaryArguments& arguments);
void binary(const Launch& on, const BinaryArguments& arguments);
void where(const Launch& on, const WhereArguments& arguments);
void gated(const Launch& on, const GatedArguments& arguments);

// copy.cu
void copy(const Launch& on, const CopyArguments& arguments);
void gather_rows(const Launch& on, const GatherRowsArguments& arguments);

// reduce.cu, top.cu
void reduce(const Launch& on, const ReduceArguments& arguments);
void top(const Launch& on, const TopArguments& arguments);

// choose.cu
void choose(const Launch& on, const ChoiceArguments& arguments);

}  // namespace perilune::kernels::cuda
