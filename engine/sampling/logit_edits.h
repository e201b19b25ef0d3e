// What the rules of a request change in a row of logits, before the row is seen.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/choice.h"

namespace perilune {

/// In the order they are made in. Ids that have no logit are passed over. Its memory is used again.
class LogitEdits {
 public:
  /// For a row of `width` logits.
  void begin(std::size_t width);

  void add(std::int32_t id, float amount, std::int32_t times = 1);
  void forbid(std::span<const std::int32_t> ids);
  /// Only `ids` stay possible, all alike.
  void force(std::span<const std::int32_t> ids);
  /// Each id once: times `factor` below 0, else divided by it.
  void penalize(std::span<const std::int32_t> ids, float factor);
  /// By `share` of its magnitude.
  void raise(std::span<const std::int32_t> ids, float share);

  bool valid(std::int32_t id) const { return id >= 0 && static_cast<std::size_t>(id) < width_; }
  std::size_t width() const { return width_; }
  /// All are left out that no edit sets.
  bool forced() const { return forced_; }
  std::span<const kernels::LogitEdit> all() const { return edits_; }
  void apply(std::span<float> logits) const;

 private:
  std::size_t width_ = 0;
  bool forced_ = false;
  std::vector<kernels::LogitEdit> edits_;
  std::vector<std::uint32_t> seen_;  // by id: the last round of penalize() that met it
  std::uint32_t round_ = 0;
};

}  // namespace perilune
