#include "engine/program/composed_activations.h"

#include "engine/ops/elementwise.h"
#include "engine/program/value_math.h"

namespace perilune {

namespace {

using kernels::Binary;
using kernels::Unary;

Value hardswish(const Value& x, const std::string& where) {
  Value gate = tensor_ops::scalar(Binary::add, x, 3, false, where);
  gate = tensor_ops::clamp(gate, 0, 6, where);
  return tensor_ops::scalar(Binary::divide, tensor_ops::multiply(x, gate, where), 6, false, where);
}

/// log(1 + y) for y in [0, 1] without the loss of small y: what 1 + y lost is put back by dividing
/// by what it kept (Higham 2002, Accuracy and Stability of Numerical Algorithms, 1.14.1).
Value log_of_one_and(const Value& y, const std::string& where) {
  const Value sum = tensor_ops::scalar(Binary::add, y, 1, false, where);
  const Value kept = tensor_ops::scalar(Binary::subtract, sum, 1, false, where);
  const Value lost = tensor_ops::scalar(Binary::equal, kept, 0, false, where);
  const Value ratio = tensor_ops::divide(
      tensor_ops::multiply(tensor_ops::unary(Unary::log, sum, where), y, where), kept, where);
  return tensor_ops::where(lost, y, ratio, where);
}

/// log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|)), which cannot overflow.
Value softplus(const Value& x, const std::string& where) {
  const Value size = tensor_ops::unary(Unary::abs, x, where);
  const Value small =
      tensor_ops::unary(Unary::exp, tensor_ops::unary(Unary::negate, size, where), where);
  return tensor_ops::add(tensor_ops::scalar(Binary::maximum, x, 0, false, where),
                         log_of_one_and(small, where), where);
}

}  // namespace

bool activation_composed(const std::string& name) {
  return name == "hardswish" || name == "sqrtsoftplus";
}

Value composed_activation(const Value& x, const std::string& name, const std::string& where) {
  if (name == "hardswish") return hardswish(x, where);
  return tensor_ops::unary(Unary::sqrt, softplus(x, where), where);
}

std::string activation_lacks(const std::string& name) {
  if (name != "prelu" && name != "xielu") return "";
  return "it has learned numbers of its own in every layer, which no family here reads";
}

}  // namespace perilune
