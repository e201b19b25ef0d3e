// Named weights from safetensors or GGUF, single or sharded, validated whole before a byte is used.
// Views rename, transpose, split and permute on the way in.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/files/row_storage.h"
#include "engine/weights/adapter_set.h"
#include "engine/weights/views.h"
#include "engine/weights/weight.h"

namespace perilune {

class Checkpoint {
 public:
  /// `folder` holds model.safetensors, or model.safetensors.index.json and its shards (every shard
  /// present, every indexed tensor in its shard); or it is a GGUF file, the first of its shards
  /// where it has some. Throws.
  static std::shared_ptr<Checkpoint> open(const std::shared_ptr<Context>& context,
                                          const std::string& folder,
                                          const CheckpointOptions& options);
  virtual ~Checkpoint() = default;

  virtual const std::string& folder() const = 0;
  /// Whether a module `path` (with .weight) or a tensor `path` itself exists. From headers.
  virtual bool has(std::string_view path) const = 0;
  /// The matrix of module `path` (".weight" appended). Throws naming the path and the nearest
  /// names. The same object each time.
  virtual std::shared_ptr<Weight> weight(std::string_view path) = 0;
  /// Sizes of `path`.weight or of tensor `path` without reading; nullopt where absent.
  virtual std::optional<StoredView> find(std::string_view name) const = 0;
  /// A vector or small tensor (bias, norm weight, relative bias) as f32, read once and kept.
  /// `name` is the full name below the prefixes ("layers.0.input_layernorm.weight").
  virtual Tensor tensor(std::string_view name, const std::vector<std::string>& axes) = 0;
  /// The same as a copy of its own, also of a module's weight (`name` without ".weight"); under its
  /// name in the file, a tensor that is read in parts, as stored, with axes "axis1", ...
  virtual Tensor copy(std::string_view name, const std::vector<std::string>& axes) const = 0;
  /// `values` take the place of a tensor, in its dtype, for whoever asks from now on; what asked
  /// before keeps what it has. Throws Error(shape) for other sizes.
  virtual void replace(std::string_view name, const Tensor& values) = 0;
  /// The same for a table of which other rows are wanted than are stored: its other sizes stay,
  /// and the values' dtype. What follows from how a model is loaded is no change.
  virtual void replace_table(std::string_view name, const Tensor& values) = 0;
  /// The matrix of module `path` is stored otherwise from now on, for whoever asks: converted from
  /// its file whenever it is read (engine/weights/converted_file.h). Throws Error(shape).
  virtual void store_as(std::string_view path, const RowStorage& storage) = 0;
  /// The same with the blocks given, which are kept.
  virtual void store_blocks(std::string_view path, const RowStorage& storage,
                            std::vector<std::uint8_t> blocks) = 0;
  /// One with the same weights, which later changes of either do not reach in the other.
  virtual std::shared_ptr<Checkpoint> copy_of_all() const = 0;
  /// Whether replace() was called.
  virtual bool changed() const = 0;
  /// Marks a name as read without reading (tracing heads that were not chosen).
  virtual void touch(std::string_view name) = 0;

  /// Stored tensors that nobody asked for and `unused` does not list, sorted.
  virtual std::vector<std::string> unread() const = 0;
  virtual std::vector<std::string> names() const = 0;
  /// Every name that passes ask for, with the name whose elements it has too ("" for its own).
  virtual std::vector<std::pair<std::string, std::string>> to_save() const = 0;
  /// What the metadata of its files say under `key`; nullopt where none does.
  virtual std::optional<std::string> metadata(std::string_view key) const = 0;
  /// The dtype most bytes are read as, for compute="auto".
  virtual DType main_dtype() const = 0;
  /// The format of most blocks of few bits; null where less than a quarter of elements are such.
  virtual const kernels::BlockFormat* main_blocks() const = 0;
  virtual std::uint64_t stored_bytes() const = 0;
  virtual std::uint64_t packed_bytes(const Device* on = nullptr) const = 0;

  /// What adapters change of its modules; copies share it.
  AdapterSet& adapters() { return *adapters_; }
  const AdapterSet& adapters() const { return *adapters_; }

 private:
  std::shared_ptr<AdapterSet> adapters_ = std::make_shared<AdapterSet>();
};

}  // namespace perilune
