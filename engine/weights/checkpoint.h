// Named weights from safetensors or GGUF, single or sharded, validated whole before a byte is used.
// Views rename, transpose, split and permute on the way in.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "engine/weights/weight.h"

namespace perilune {

/// One stored tensor of a file.
struct StoredTensor {
  std::string name;
  DType dtype = DType::f32;
  std::vector<std::int64_t> sizes;
  std::uint64_t begin = 0,
                end = 0;  // bytes from the start of the file (engine/files/gguf/tensors.h: or
                          // of what the type is decoded into)
  std::string type;       // as the file says: "BF16", "Q4_K"
  bool readable = true;   // false: `type` has no dtype here (F64, F8_E4M3, ...)
};

/// Throws Error(unsupported) naming file, tensor and type where it is not readable.
void require_readable(const StoredTensor& tensor, std::string_view file);

/// A validated file of tensors. safetensors: header size, JSON, dtypes, checked sizes, offsets that
/// cover the file exactly. GGUF: engine/files/gguf/head.h; quantized tensors read as float32. Reads
/// with pread; mapping is opt-in (a mapped file that shrinks kills the process).
class TensorFile {
 public:
  /// Throws Error(file | format) naming file, tensor and the numbers that disagree,
  /// Error(unsupported) for a pickle.
  static std::shared_ptr<const TensorFile> open(const std::string& path, bool map = false);
  virtual ~TensorFile() = default;
  virtual const std::string& path() const = 0;
  virtual const std::vector<StoredTensor>& tensors() const = 0;
  virtual const StoredTensor* find(std::string_view name) const = 0;
  /// Reads bytes [begin, begin + size) of the tensor's data into `to`.
  virtual void read(const StoredTensor& tensor, std::uint64_t begin, std::size_t size,
                    void* to) const = 0;
  virtual const std::map<std::string, std::string>& metadata() const = 0;
  /// The tensor's bytes where the file is mapped, else null. Any alignment.
  virtual const void* mapped(const StoredTensor& tensor) const = 0;
};

/// Why a pickle is refused, and the way out.
inline constexpr const char* kPickleHint =
    "pickled files are never read, since opening one can run code: convert it where it came from, "
    "with save_pretrained(folder, safe_serialization=True)";

/// A tensor of a file, in its own dtype, with axes "axis1", ... unless named. Throws
/// Error(unsupported) for element types and ranks that tensors do not have.
Tensor read_tensor(const std::shared_ptr<Context>& context, const TensorFile& file,
                   const StoredTensor& tensor, const std::vector<std::string>& axes = {});

/// Writes tensors as safetensors through a temporary file and rename; a failure leaves the old
/// file.
void write_safetensors(const std::string& path,
                       const std::vector<std::pair<std::string, Tensor>>& tensors,
                       const std::map<std::string, std::string>& metadata = {});

/// One part of a split: a name for the child, and the axes whose sizes multiply to its outputs
/// (empty: equal parts).
struct SplitPart {
  std::string name;
  std::vector<std::string> axes;
};

/// How stored tensors become modules (API.md, Families: `weights`). Order: rename, transpose,
/// split.
struct WeightView {
  std::string pattern;  // "h.*.attn.c_attn"; '*' is one component, a leading '*' any depth
  std::string rename;
  bool transpose = false;
  std::vector<SplitPart> split;
  std::string per;  // with split: interleaved by this axis (stored [head, part, head_dim])
};

/// Modules whose outputs are stored as rotary pairs lie side by side (GGUF's llama): row
/// j * size/2 + i of each head at 2i + j.
struct HeadPermutation {
  std::string pattern;  // of module names
  std::string axis;     // of the heads: its size says how many
};

/// Weights that are stored with something added (GGUF's gemma2 norms): `value` is added on reading.
struct WeightOffset {
  std::string pattern;  // of module names
  float value = 0;
};

struct CheckpointOptions {
  std::vector<std::string> prefixes;  // the longest that fits is stripped, before anything else
  std::vector<WeightView> views;
  std::vector<std::string> unused;            // patterns of stored tensors nobody needs to read
  std::map<std::string, std::int64_t> axes;   // the family's axis sizes, for splits
  std::vector<HeadPermutation> permutations;  // after the views
  std::vector<WeightOffset> offsets;          // after the views
  bool map = false;
};

/// True when `name` fits `pattern`, component by component; a leading "*." or a pattern that begins
/// with '*' matches any depth.
bool matches_pattern(std::string_view pattern, std::string_view name);

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
  /// Marks a name as read without reading (tracing heads that were not chosen).
  virtual void touch(std::string_view name) = 0;

  /// Stored tensors that nobody asked for and `unused` does not list, sorted.
  virtual std::vector<std::string> unread() const = 0;
  virtual std::vector<std::string> names() const = 0;
  /// The dtype most bytes are read as, for compute="auto".
  virtual DType main_dtype() const = 0;
  virtual std::uint64_t stored_bytes() const = 0;
  virtual std::uint64_t packed_bytes() const = 0;
};

}  // namespace perilune
