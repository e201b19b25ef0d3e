#include "engine/program/value_padding.h"

#include "engine/base/error.h"
#include "engine/program/value_math.h"

namespace perilune::tensor_ops {

Tensor pad(const Tensor& x, const std::string& axis, std::int64_t size, bool before, double number,
           const std::string& where) {
  const int index = x.shape().index("pad", axis);
  const std::int64_t own = x.shape().size(index);
  if (size < own) {
    throw Error(ErrorCode::shape, "pad",
                axis + " is " + std::to_string(own) + " long, more than " + std::to_string(size))
        .operand("tensor", x.describe())
        .where(where)
        .hint("cut it with t:at{ " + axis + " = { 1, " + std::to_string(size) +
              " } } or pl.clamp_to_shortest");
  }
  Tensor result = Tensor::make(x.context(), x.dtype(), x.shape().with_axis(index, {axis, size, 0}),
                               x.storage()->device());
  assign(result.slice(index, before ? 0 : own, size - own), number, where);
  assign(result.slice(index, before ? size - own : 0, own), x, where);
  return result;
}

Tensor detach(const Tensor& x) {
  std::vector<Axis> axes;
  for (const Axis& axis : x.shape().axes()) axes.push_back({axis.name, axis.size, 0});
  return x.with_shape(Shape(axes));
}

}  // namespace perilune::tensor_ops
