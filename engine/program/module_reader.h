// How a scope reads the parts of its modules.
#pragma once

#include "engine/ops/op.h"
#include "engine/program/net_state.h"

namespace perilune {

/// Reads of a module's parts, the place added to what the checkpoint says. While names are
/// collected nothing is read and what is missing is no error.
struct ModuleReader {
  NetState& state;
  std::string place;

  /// Of a matrix, or, for convolutions, of a weight with `axes` axes, whose inputs are all but the
  /// first.
  std::shared_ptr<Weight> weight(const std::string& path, std::size_t axes = 2) const {
    if (state.names_only) return touch(path + ".weight"), nullptr;
    const std::optional<StoredView> stored = state.checkpoint->find(path + ".weight");
    if (stored && stored->sizes.size() != axes) {
      throw Error(ErrorCode::shape, "load",
                  "weight \"" + path + "\" should have " + std::to_string(axes) +
                      " axes, and has " + std::to_string(stored->sizes.size()))
          .where(place);
    }
    try {
      return state.checkpoint->weight(path);
    } catch (Error& error) {
      error.where(place);
      throw;
    }
  }
  Tensor tensor(const std::string& name, const std::vector<std::string>& axes) const {
    if (state.names_only) return touch(name), Tensor();
    try {
      return state.checkpoint->tensor(name, axes);
    } catch (Error& error) {
      error.where(place);
      throw;
    }
  }
  void touch(const std::string& name) const {
    if (state.checkpoint->find(name)) state.checkpoint->touch(name);
  }
};

/// Throws Error(shape) unless a tensor that is there has `size` elements.
inline void check_size(const char* op, const std::string& path, const Tensor& tensor,
                       std::int64_t size, const std::string& place) {
  if (!tensor.defined() || tensor.elements() == size) return;
  throw Error(ErrorCode::shape, op, "the bias has another size than the outputs")
      .operand(path, tensor.spec().text() + " " + versus(size, tensor.elements()))
      .where(place);
}

/// "layers.3" + "mlp" -> "layers.3.mlp"; either may be empty.
inline std::string join_scopes(const std::string& scope, const std::string& name) {
  if (scope.empty() || name.empty()) return scope + name;
  return scope + "." + name;
}

}  // namespace perilune
