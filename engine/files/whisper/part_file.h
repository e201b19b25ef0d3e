// A file whose tensors are parts of what is stored in it, under other names.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/base/input_file.h"
#include "engine/files/gguf/head.h"
#include "engine/files/tensor_file.h"

namespace perilune {

/// Where a tensor's elements lie and how.
struct StoredPart {
  const GgufTensorType* type = nullptr;  // of the elements as stored
  std::uint64_t begin = 0;               // byte of the first one in the file
  /// Of whole numbers: an element of row r stands for itself / scales[r]; of one, for all rows.
  std::vector<float> scales;
};

/// Reads a file's head from its beginning, every read within the file.
class HeadReader {
 public:
  /// Throws Error(file).
  explicit HeadReader(const std::string& path);

  const std::string& path() const { return file_->path(); }
  std::uint64_t size() const { return size_; }
  std::uint64_t at() const { return at_; }
  std::uint64_t left() const { return size_ - at_; }
  /// Throws Error(format): "PATH: is cut short: …".
  void read(void* to, std::size_t bytes);
  void skip(std::uint64_t bytes);
  template <class T>
  T number() {
    T value{};
    read(&value, sizeof value);
    return value;
  }
  std::string text(std::size_t bytes);
  [[noreturn]] void fail(const std::string& problem) const;
  /// Bytes of somewhere else in the file, which must be there.
  void read_at(std::uint64_t begin, std::size_t bytes, void* to) const;
  /// The open file, for whoever reads tensors from it; this one reads no more.
  std::shared_ptr<const InputFile> file() const { return file_; }

 private:
  std::shared_ptr<const InputFile> file_;
  std::uint64_t size_ = 0, at_ = 0;
};

/// The tensors of a file, each with where its elements lie. Quantized and scaled ones read as f32.
class PartFile final : public TensorFile {
 public:
  explicit PartFile(const HeadReader& head) : file_(head.file()) {}

  /// Adds a tensor; its bytes must have been found inside the file. Throws Error(format) for a name
  /// that is there already.
  void add(const std::string& name, std::vector<std::int64_t> sizes, StoredPart part);
  void note(const std::string& key, const std::string& value) { metadata_[key] = value; }

  const std::string& path() const override { return file_->path(); }
  const std::vector<StoredTensor>& tensors() const override { return tensors_; }
  const StoredTensor* find(std::string_view name) const override;
  void read(const StoredTensor& tensor, std::uint64_t begin, std::size_t size,
            void* to) const override;
  void read_blocks(const StoredTensor& tensor, std::uint64_t first, std::size_t count,
                   void* to) const override;
  const std::map<std::string, std::string>& metadata() const override { return metadata_; }
  const void* mapped(const StoredTensor&) const override { return nullptr; }

 private:
  const StoredPart& part_of(const StoredTensor& tensor) const;
  void read_decoded(const StoredTensor& tensor, const StoredPart& part, std::uint64_t begin,
                    std::size_t size, char* to) const;

  std::shared_ptr<const InputFile> file_;
  std::vector<StoredTensor> tensors_;
  std::vector<StoredPart> parts_;  // of tensors_, in their order
  std::unordered_map<std::string, std::size_t> index_;
  std::map<std::string, std::string> metadata_;
};

/// Elements of sizes, each from 1 to 2^31; nullopt where they are more than any file holds.
std::optional<std::int64_t> element_count(const std::vector<std::int64_t>& sizes);

}  // namespace perilune
