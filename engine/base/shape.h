// Shapes with named axes. A mistake is reported in words: the axis, both sizes, what to do.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/kernel_table.h"

namespace perilune {

/// A ragged size while a pass is traced: known only when a batch is bound, never handed to Lua.
inline constexpr std::int64_t kSymbolicSize = -1;

/// Which batch's rows an axis holds end to end. 0: none (compared by size). While tracing, the
/// program's own axis numbers (1, 2, ...); at run time, numbers made by Context::new_identity().
using AxisIdentity = std::uint64_t;
/// Batches' axes begin here; a program's own axes have the numbers below.
inline constexpr AxisIdentity kFirstBatchIdentity = 1u << 20;

struct Axis {
  std::string name;
  std::int64_t size = 0;
  AxisIdentity identity = 0;

  bool symbolic() const { return size == kSymbolicSize; }
  bool operator==(const Axis&) const = default;
};

/// Up to kMaxAxes axes, outermost first, names unique. Held in place: copies of shapes (and so of
/// tensors) allocate nothing where names are short.
class Shape {
 public:
  Shape() = default;
  /// Throws on a repeated or empty name, a negative size that is not symbolic, or too many axes.
  explicit Shape(std::span<const Axis> axes);
  explicit Shape(const std::vector<Axis>& axes) : Shape(std::span<const Axis>(axes)) {}
  Shape(std::initializer_list<Axis> axes)
      : Shape(std::span<const Axis>(axes.begin(), axes.size())) {}

  int rank() const { return rank_; }
  const Axis& axis(int i) const { return axes_[static_cast<std::size_t>(i)]; }
  std::span<const Axis> axes() const { return {axes_.data(), static_cast<std::size_t>(rank_)}; }
  const Axis& back() const { return axis(rank_ - 1); }

  /// Index of the axis called `name`, or -1.
  int find(std::string_view name) const;
  /// Index of the axis called `name`; throws naming `op`, the shape and the nearest axis.
  int index(std::string_view op, std::string_view name) const;
  std::int64_t size(int i) const { return axis(i).size; }

  bool symbolic() const;
  /// Product of the sizes, checked against overflow; 1 for rank 0. Not for symbolic shapes.
  std::int64_t elements() const;

  Shape with_axis(int i, Axis axis) const;
  Shape without_axis(int i) const;
  Shape append(Axis axis) const;
  /// Gives an axis another size and identity in place.
  void resize(int i, std::int64_t size, AxisIdentity identity);
  std::vector<std::string> names() const;

  /// "[token=7, hidden=768]"; symbolic sizes print as "token=*".
  std::string text() const;
  bool operator==(const Shape&) const = default;

 private:
  void check() const;

  std::array<Axis, kernels::kMaxAxes> axes_;  // those past the rank are as made
  int rank_ = 0;
};

/// True when the two axes may meet element by element: same identity where both have one, else the
/// same size. Identity is checked before size.
bool axes_agree(const Axis& a, const Axis& b);

/// The shape of an elementwise op on a and b: axes align by name, sizes 1 broadcast, one operand's
/// axes must contain the other's. Throws with both shapes and the axis that disagrees.
Shape align(std::string_view op, const Shape& a, const Shape& b);

/// dtype and shape, before there is memory.
struct TensorSpec {
  DType dtype = DType::f32;
  Shape shape;
  /// A value that only orders ops (keys and values kept in a cache): no buffer.
  bool without_storage = false;

  /// "f32[token=7, hidden=768]"
  std::string text() const;
};

/// As above, with dtypes in the message.
Shape align(std::string_view op, const TensorSpec& a, const TensorSpec& b);

/// The one checked arithmetic for sizes that come from outside; nullopt on overflow or a negative.
std::optional<std::int64_t> checked_multiply(std::int64_t a, std::int64_t b);
std::optional<std::int64_t> checked_add(std::int64_t a, std::int64_t b);

/// True for axes whose coordinates are the model's own ids from 0: vocab, class.
bool is_id_axis(const std::string& name);

}  // namespace perilune
