// What adapters change of a model's modules, beside its weights: LoRA (Hu et al. 2021,
// arXiv:2106.09685), W x + scale * B (A x). The weights stay as they are, so that rows with and
// without an adapter run together.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "engine/tensor/tensor.h"
#include "engine/weights/weight.h"

namespace perilune {

/// What one adapter does to one module [outputs, inputs]; to an embedding [ids, outputs].
struct ModuleAdapter {
  std::int64_t adapter = 0;  // its number, from 1; 0 stands for none
  /// A [rank, inputs]; of an embedding A' [ids, rank]; null where only `whole` or `bias` is there.
  std::shared_ptr<Weight> down;
  std::shared_ptr<Weight> up;     // B [outputs, rank]
  float scale = 1;                // of B (A x)
  std::shared_ptr<Weight> whole;  // as the module is, in its place; null: it stays
  Tensor bias;  // f32 [outputs] or undefined: added, or with `whole` in the module's bias's place
};
using ModuleAdapters = std::vector<ModuleAdapter>;

/// All adapters of a model, by module path. Filled while the model is loaded; passes that are
/// traced later see what is there then.
class AdapterSet {
 public:
  /// Adds to the module `path`, by ascending numbers. Throws Error(format) for a number twice.
  void add(const std::string& path, ModuleAdapter change);
  /// Null where no adapter changes the module. The path counts as read.
  std::shared_ptr<const ModuleAdapters> of(std::string_view path);
  /// Modules that no pass asked for, sorted.
  std::vector<std::string> unread() const;
  /// Bytes of the packed forms made so far; `on`: of those on one device.
  std::size_t packed_bytes(const Device* on = nullptr) const;
  bool empty() const;

 private:
  struct Module {
    std::shared_ptr<ModuleAdapters> changes;
    bool read = false;
  };
  std::map<std::string, Module, std::less<>> modules_;
  mutable std::mutex mutex_;
};

}  // namespace perilune
