// GGUF files (ggml's docs/gguf.md), versions 2 and 3, little-endian: typed metadata and where the
// tensors lie. Nothing in a file is believed before it was checked.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/base/input_file.h"

namespace perilune {

/// Value types of metadata, numbered as in the file.
enum class GgufType : std::uint32_t {
  u8,
  i8,
  u16,
  i16,
  u32,
  i32,
  f32,
  boolean,
  string,
  array,
  u64,
  i64,
  f64
};

/// "u32", "string", …
const char* gguf_type_name(GgufType type);

/// Bytes of a value; 0 for strings and arrays, which vary.
std::uint64_t gguf_type_bytes(GgufType type);

/// A tensor type: `block` elements take `bytes` bytes.
struct GgufTensorType {
  std::uint32_t number = 0;  // as in the file
  const char* name = "";     // "Q4_K"
  std::uint32_t block = 1, bytes = 1;
};

/// The published types; null for a number that is none of them.
const GgufTensorType* gguf_tensor_type(std::uint32_t number);

/// One stored tensor.
struct GgufTensor {
  std::string name;
  std::vector<std::int64_t> sizes;       // slowest axis first: the file's order turned around
  std::uint32_t type_number = 0;         // as in the file
  const GgufTensorType* type = nullptr;  // null: not a published type, `end` is `begin`
  std::uint64_t begin = 0, end = 0;      // bytes from the start of the file
};

/// "blk.0.attn_q.weight Q4_K[64, 256]", for messages.
std::string describe(const GgufTensor& tensor);

/// A validated GGUF file: counts, lengths, unique keys and names, alignment, every tensor inside
/// the file and none over another. Holds the metadata's bytes, at most kMaxGgufMetadata, and none
/// of the tensors'. Immutable and thread-safe.
class GgufFile {
 public:
  /// Reads the head of the file. Throws Error(file | format | unsupported) naming the file, the
  /// key or tensor, and the numbers that disagree.
  /// `map` makes mapped() work where the file can be mapped.
  static std::shared_ptr<const GgufFile> open(const std::string& path, bool map = false);
  /// A whole file that is in memory; `name` stands in errors.
  static std::shared_ptr<const GgufFile> parse(std::string_view bytes, const std::string& name);
  ~GgufFile();
  GgufFile(const GgufFile&) = delete;
  GgufFile& operator=(const GgufFile&) = delete;

  const std::string& path() const { return path_; }
  std::uint32_t version() const { return version_; }
  std::uint32_t alignment() const { return alignment_; }

  /// Keys in the order of the file.
  const std::vector<std::string>& keys() const { return keys_; }
  bool has(std::string_view key) const { return find(key) != nullptr; }
  /// "u32 4096", "array of 32000 string", "no such key", for messages.
  std::string describe(std::string_view key) const;

  // Values. Each throws Error(format) naming the key, what was expected and what is there, for a
  // key that is absent or of another type; the `find_` forms give nullopt for an absent key.
  // Integers are of any integer type and fit in 64 bits; integers count as numbers.
  std::int64_t integer(std::string_view key) const;
  double number(std::string_view key) const;
  bool boolean(std::string_view key) const;
  std::string_view string(std::string_view key) const;
  std::optional<std::int64_t> find_integer(std::string_view key) const;
  std::optional<double> find_number(std::string_view key) const;
  std::optional<bool> find_boolean(std::string_view key) const;
  std::optional<std::string_view> find_string(std::string_view key) const;
  /// Arrays. Views stay valid as long as the file object.
  std::vector<std::string_view> strings(std::string_view key) const;
  std::vector<std::int64_t> integers(std::string_view key) const;
  std::vector<float> numbers(std::string_view key) const;
  /// An array of u8 or i8 as bytes.
  std::string_view bytes(std::string_view key) const;

  /// Type and value of a key as the file has them; none of numbers that are not known.
  std::string value_bytes(std::string_view key) const;

  /// In the order of the file.
  const std::vector<GgufTensor>& tensors() const { return tensors_; }
  const GgufTensor* find_tensor(std::string_view name) const;
  /// Reads bytes [begin, begin + size) of the tensor's data into `to`. Throws Error(unsupported)
  /// for an unknown type, Error(file) where it cannot be read.
  void read(const GgufTensor& tensor, std::uint64_t begin, std::size_t size, void* to) const;
  /// All of the file as memory (InputFile::mapped), or nullptr.
  const char* mapped() const;

 private:
  friend class GgufReader;
  struct Value {
    GgufType type = GgufType::u8;
    GgufType element = GgufType::u8;     // of an array
    std::uint64_t count = 0;             // of an array
    std::uint64_t first = 0, bytes = 0;  // where it stands in head_, without type and count
  };
  GgufFile() = default;

  const Value* find(std::string_view key) const;
  const Value& get(std::string_view key, const char* expected) const;
  [[noreturn]] void fail_type(std::string_view key, const char* expected) const;
  std::optional<std::int64_t> read_integer(GgufType type, std::uint64_t at) const;
  std::optional<double> read_number(GgufType type, std::uint64_t at) const;

  std::string path_;
  std::unique_ptr<InputFile> file_;  // none: all of the file is head_
  std::string head_;                 // the file up to the tensors' data, or a little beyond
  std::uint64_t size_ = 0;           // of the file
  std::uint32_t version_ = 0, alignment_ = 32;
  std::vector<std::string> keys_;
  std::vector<Value> values_;  // by position in keys_
  std::unordered_map<std::string_view, std::size_t> key_index_;
  std::vector<GgufTensor> tensors_;
  std::unordered_map<std::string_view, std::size_t> tensor_index_;
};

/// Bytes that everything before the tensors' data may take. Published files stay below 32 MiB.
inline constexpr std::uint64_t kMaxGgufMetadata = std::uint64_t{256} << 20;

}  // namespace perilune
