#include "engine/base/shape.h"

#include <algorithm>
#include <limits>

#include "engine/base/error.h"
#include "engine/base/row_identity.h"

namespace perilune {

std::optional<std::int64_t> checked_multiply(std::int64_t a, std::int64_t b) {
  if (a < 0 || b < 0) return std::nullopt;
  std::int64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) return std::nullopt;
  return product;
}

std::optional<std::int64_t> checked_add(std::int64_t a, std::int64_t b) {
  if (a < 0 || b < 0) return std::nullopt;
  std::int64_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) return std::nullopt;
  return sum;
}

namespace {

std::string size_text(std::int64_t size) {
  return size == kSymbolicSize ? "*" : std::to_string(size);
}

std::string quoted(std::string_view name) {
  return "\"" + std::string(name) + "\"";
}

std::string text_of(std::span<const Axis> axes) {
  std::string text = "[";
  for (std::size_t i = 0; i < axes.size(); ++i) {
    if (i != 0) text += ", ";
    text += axes[i].name + "=" + size_text(axes[i].size);
  }
  return text + "]";
}

}  // namespace

Shape::Shape(std::span<const Axis> axes) {
  if (axes.size() > static_cast<std::size_t>(kernels::kMaxAxes)) {
    throw Error(ErrorCode::shape, "shape",
                std::to_string(axes.size()) + " axes, at most " +
                    std::to_string(kernels::kMaxAxes) + " are possible")
        .operand("shape", text_of(axes))
        .hint("merge axes that are not needed apart");
  }
  std::copy(axes.begin(), axes.end(), axes_.begin());
  rank_ = static_cast<int>(axes.size());
  check();
}

void Shape::check() const {
  const std::span<const Axis> all = axes();
  for (std::size_t i = 0; i < all.size(); ++i) {
    const Axis& axis = all[i];
    if (axis.name.empty()) {
      throw Error(ErrorCode::shape, "shape", "axis " + std::to_string(i + 1) + " has no name")
          .operand("shape", text());
    }
    if (axis.size < 0 && !axis.symbolic()) {
      throw Error(
          ErrorCode::shape, "shape",
          "axis " + quoted(axis.name) + " has a negative size, " + std::to_string(axis.size))
          .operand("shape", text());
    }
    for (std::size_t j = 0; j < i; ++j) {
      if (all[j].name != axis.name) continue;
      throw Error(ErrorCode::shape, "shape", "two axes are called " + quoted(axis.name))
          .operand("shape", text())
          .hint("rename one of them");
    }
  }
}

int Shape::find(std::string_view name) const {
  for (int i = 0; i < rank_; ++i) {
    if (axis(i).name == name) return i;
  }
  return -1;
}

int Shape::index(std::string_view op, std::string_view name) const {
  const int found = find(name);
  if (found >= 0) return found;
  Error error(ErrorCode::shape, std::string(op), "there is no axis " + quoted(name));
  error.operand("shape", text());
  const std::string guess = did_you_mean(name, names());
  if (!guess.empty()) error.hint(guess);
  throw error;
}

bool Shape::symbolic() const {
  const std::span<const Axis> all = axes();
  return std::any_of(all.begin(), all.end(), [](const Axis& axis) { return axis.symbolic(); });
}

std::int64_t Shape::elements() const {
  // Asked several times for each op of a step: one look at each axis. A zero anywhere makes the
  // product zero, whatever the other sizes would overflow to.
  std::int64_t product = 1;
  bool ragged = false, empty = false, too_many = false;
  for (const Axis& axis : axes()) {
    ragged |= axis.symbolic();
    empty |= axis.size == 0;
    too_many |= __builtin_mul_overflow(product, axis.size, &product);
  }
  if (ragged) {
    throw Error(ErrorCode::internal, "shape", "the size of a ragged axis is not known yet")
        .operand("shape", text());
  }
  if (empty) return 0;
  if (too_many) {
    throw Error(ErrorCode::shape, "shape", "more elements than can be counted")
        .operand("shape", text());
  }
  return product;
}

Shape Shape::with_axis(int i, Axis axis) const {
  Shape shape = *this;
  shape.axes_[static_cast<std::size_t>(i)] = std::move(axis);
  shape.check();
  return shape;
}

Shape Shape::without_axis(int i) const {
  Shape shape = *this;
  std::move(shape.axes_.begin() + i + 1, shape.axes_.begin() + rank_, shape.axes_.begin() + i);
  shape.axes_[static_cast<std::size_t>(--shape.rank_)] = Axis();
  return shape;
}

Shape Shape::append(Axis axis) const {
  if (rank_ == kernels::kMaxAxes) {
    std::vector<Axis> axes(axes_.begin(), axes_.end());
    axes.push_back(std::move(axis));
    return Shape(axes);  // throws
  }
  Shape shape = *this;
  shape.axes_[static_cast<std::size_t>(shape.rank_++)] = std::move(axis);
  shape.check();
  return shape;
}

void Shape::resize(int i, std::int64_t size, AxisIdentity identity) {
  Axis& axis = axes_[static_cast<std::size_t>(i)];
  axis.size = size;
  axis.identity = identity;
}

std::vector<std::string> Shape::names() const {
  std::vector<std::string> names;
  names.reserve(static_cast<std::size_t>(rank_));
  for (const Axis& axis : axes()) names.push_back(axis.name);
  return names;
}

std::string Shape::text() const {
  return text_of(axes());
}

std::string TensorSpec::text() const {
  return dtype_name(dtype) + shape.text();
}

bool axes_agree(const Axis& a, const Axis& b) {
  if (a.identity != 0 && b.identity != 0) return a.identity == b.identity;
  return a.size == b.size;
}

namespace {

/// The operands of an elementwise op, with the words that errors use for them.
struct Operands {
  std::string_view op;
  const Shape& a;
  const Shape& b;
  const std::string& a_text;
  const std::string& b_text;

  Error error(std::string problem) const {
    Error made(ErrorCode::shape, std::string(op), std::move(problem));
    made.operand("a", a_text).operand("b", b_text);
    return made;
  }
};

[[noreturn]] void throw_batches_differ(const Operands& operands, const Axis& a, const Axis& b) {
  Error error(ErrorCode::shape, std::string(operands.op),
              different_batches(a.name, a.size, b.size));
  throw error.operand("a", operands.a_text + whose_rows(a.identity))
      .operand("b", operands.b_text + whose_rows(b.identity))
      .hint(kTwoBatchesHint);
}

[[noreturn]] void throw_sizes_differ(const Operands& operands, const Axis& a, const Axis& b) {
  Error error = operands.error("axis " + quoted(a.name) + " has two sizes (" + size_text(a.size) +
                               " vs " + size_text(b.size) + ")");
  if (a.identity != 0 || b.identity != 0) {
    error.hint("the axis of a batch meets only rows of the same batch; pad both with batch:pad");
  } else {
    error.hint("make the sizes equal, or cut the longer with at{ " + a.name + "={1, " +
               size_text(std::min(a.size, b.size)) + "} }");
  }
  throw error;
}

/// Neither operand has all axes of the other.
[[noreturn]] void throw_axes_unknown(const Operands& operands) {
  const auto missing = [](const Shape& from, const Shape& in) {
    std::vector<std::string> names;
    for (const Axis& axis : from.axes()) {
      if (in.find(axis.name) < 0) names.push_back(axis.name);
    }
    return names;
  };
  const auto list = [](const std::vector<std::string>& names) {
    std::string text = names.size() == 1 ? "axis " : "axes ";
    for (std::size_t i = 0; i < names.size(); ++i) text += (i ? ", " : "") + quoted(names[i]);
    return text;
  };
  const std::vector<std::string> only_a = missing(operands.a, operands.b);
  const std::vector<std::string> only_b = missing(operands.b, operands.a);
  throw operands
      .error("b has " + list(only_b) + " that a lacks, and a has " + list(only_a) + " that b lacks")
      .hint("rename{ " + only_b.front() + "=\"" + only_a.front() +
            "\" } if they mean the same, or expand one to the other's axes");
}

/// The axis both operands' axes become.
Axis meet(const Operands& operands, const Axis& a, const Axis& b) {
  if (a.identity != 0 && b.identity != 0) {
    if (a.identity != b.identity) throw_batches_differ(operands, a, b);
    if (a.size != b.size) throw_sizes_differ(operands, a, b);
    return a;
  }
  if (a.size == b.size) return a.identity != 0 ? a : b;
  if (a.size == 1) return b;
  if (b.size == 1) return a;
  throw_sizes_differ(operands, a, b);
}

bool contains(const Shape& outer, const Shape& inner) {
  return std::all_of(inner.axes().begin(), inner.axes().end(),
                     [&](const Axis& axis) { return outer.find(axis.name) >= 0; });
}

Shape align_operands(const Operands& operands) {
  const bool a_outer = contains(operands.a, operands.b);
  if (!a_outer && !contains(operands.b, operands.a)) throw_axes_unknown(operands);
  const Shape& outer = a_outer ? operands.a : operands.b;
  const Shape& inner = a_outer ? operands.b : operands.a;
  std::vector<Axis> axes;
  axes.reserve(static_cast<std::size_t>(outer.rank()));
  for (const Axis& axis : outer.axes()) {
    const int other = inner.find(axis.name);
    if (other < 0) {
      axes.push_back(axis);
    } else if (a_outer) {
      axes.push_back(meet(operands, axis, inner.axis(other)));
    } else {
      axes.push_back(meet(operands, inner.axis(other), axis));
    }
  }
  return Shape(axes);
}

}  // namespace

Shape align(std::string_view op, const Shape& a, const Shape& b) {
  const std::string a_text = a.text();
  const std::string b_text = b.text();
  return align_operands({op, a, b, a_text, b_text});
}

Shape align(std::string_view op, const TensorSpec& a, const TensorSpec& b) {
  const std::string a_text = a.text();
  const std::string b_text = b.text();
  return align_operands({op, a.shape, b.shape, a_text, b_text});
}

bool is_id_axis(const std::string& name) {
  return name == "vocab" || name == "class";
}

}  // namespace perilune
