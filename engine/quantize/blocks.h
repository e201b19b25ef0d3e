// Matrices as blocks of few bits, and back.
#pragma once

#include <string>

#include "engine/tensor/tensor.h"
#include "kernels/coding.h"

namespace perilune {

/// The format of that name; Error(unsupported) for one that nothing here writes.
const kernels::BlockFormat& writable_format(const std::string& name, const char* op);

/// `weights` f32 [output, input] rounded by the format's own rule: u8 [output, byte].
Tensor write_blocks(const std::string& format, const Tensor& weights);

/// What blocks [output, byte] stand for: f32 [output, input].
Tensor read_blocks(const std::string& format, const Tensor& blocks, std::int64_t inputs);

/// Calls body(row) for every row, on the context's threads.
template <class Body>
void for_rows(const Context& context, std::int64_t rows, Body&& body) {
  using Plain = std::remove_reference_t<Body>;
  const kernels::Parallel parallel = context.parallel();
  parallel.run(
      parallel.host, rows,
      [](void* state, std::int64_t row) { (*static_cast<Plain*>(state))(row); },
      const_cast<std::remove_const_t<Plain>*>(&body));
}

}  // namespace perilune
