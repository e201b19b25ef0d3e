// A part of a stored matrix: what one rank of several holds.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <tuple>

#include "engine/weights/weight.h"

namespace perilune {

/// Outputs [first_output, + outputs) and inputs [first_input, + inputs) of a matrix.
struct MatrixPart {
  std::int64_t first_output = 0, outputs = 0, first_input = 0, inputs = 0;
};

/// Whether a part can be read by itself: rows that lie in groups only by whole groups, blocks only
/// whole, and all inputs of a matrix that lists them in an order of its own.
bool can_slice(const Weight& weight, const MatrixPart& part);

/// Parts that were asked for, each packed once. Thread-safe.
class WeightSlices {
 public:
  explicit WeightSlices(std::shared_ptr<Context> context) : context_(std::move(context)) {}
  /// The same object while anybody holds it. Throws Error(internal) where can_slice() is false.
  std::shared_ptr<Weight> slice(const std::shared_ptr<Weight>& weight, const MatrixPart& part);

 private:
  using Key = std::tuple<const Weight*, std::int64_t, std::int64_t, std::int64_t, std::int64_t>;
  std::shared_ptr<Context> context_;
  std::mutex mutex_;
  struct Made {
    std::weak_ptr<Weight> whole, part;
  };
  std::map<Key, Made> made_;
};

}  // namespace perilune
