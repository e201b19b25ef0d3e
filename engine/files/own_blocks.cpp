#include "engine/files/own_blocks.h"

#include <unordered_map>
#include <utility>

#include "engine/base/error.h"
#include "engine/base/json.h"
#include "engine/files/row_storage.h"

namespace perilune {
namespace {

Error damaged(const TensorFile& file, const std::string& problem) {
  return Error(ErrorCode::format, "load", file.path() + ": " + kBlocksKey + ": " + problem);
}

/// The tensor as blocks, from what is told of it.
StoredTensor as_blocks(const TensorFile& file, const StoredTensor& stored, const Json& told) {
  const std::string name = "tensor \"" + stored.name + "\"";
  if (!told.is_array() || told.size() != 2 || !told.at(0).is_string() || !told.at(1).is_integer()) {
    throw damaged(file, name + " should be told by [format, inputs]");
  }
  const std::string& format_name = told.at(0).as_string();
  const kernels::BlockFormat* format = kernels::find_block_format(format_name.c_str());
  if (format == nullptr) {
    throw Error(ErrorCode::unsupported, "load",
                file.path() + ": " + name + " is stored as \"" + format_name.substr(0, 32) +
                    "\", a format that this version does not know");
  }
  const std::int64_t inputs = told.at(1).as_integer();
  const RowStorage storage{DType::f32, format};
  // A block stands for at most kNestedBlock values.
  const bool possible = stored.dtype == DType::u8 && stored.sizes.size() == 2 && inputs > 0 &&
                        inputs <= stored.sizes[1] * kernels::kNestedBlock &&
                        storage.row_bytes(inputs) == stored.sizes[1];
  if (!possible) {
    throw damaged(file, name + ", " + stored.type + sizes_text(stored.sizes) +
                            ", cannot hold rows of " + std::to_string(inputs) + " as " +
                            format_name);
  }
  StoredTensor blocks = stored;
  blocks.dtype = DType::f32;
  blocks.type = format->name;
  blocks.format = format;
  blocks.sizes = {stored.sizes[0], inputs};
  blocks.end = blocks.begin + static_cast<std::uint64_t>(stored.sizes[0] * inputs) * 4;
  return blocks;
}

class OwnBlocks final : public TensorFile {
 public:
  OwnBlocks(std::shared_ptr<const TensorFile> file, const Json& told) : file_(std::move(file)) {
    std::size_t found = 0;
    for (const StoredTensor& stored : file_->tensors()) {
      const Json* of = told.find(stored.name);
      found += of != nullptr ? 1 : 0;
      tensors_.push_back(of != nullptr ? as_blocks(*file_, stored, *of) : stored);
    }
    if (found != told.members().size())
      throw damaged(*file_, "it names tensors that are not there");
    for (std::size_t i = 0; i < tensors_.size(); ++i) index_[tensors_[i].name] = i;
  }

  const std::string& path() const override { return file_->path(); }
  const std::vector<StoredTensor>& tensors() const override { return tensors_; }
  const std::map<std::string, std::string>& metadata() const override { return file_->metadata(); }
  const StoredTensor* find(std::string_view name) const override {
    const auto found = index_.find(name);
    return found == index_.end() ? nullptr : &tensors_[found->second];
  }
  const void* mapped(const StoredTensor& tensor) const override {
    return tensor.format != nullptr ? nullptr : file_->mapped(bytes_of(tensor));
  }
  void read(const StoredTensor& tensor, std::uint64_t begin, std::size_t size,
            void* to) const override {
    if (tensor.format == nullptr) return file_->read(bytes_of(tensor), begin, size, to);
    const RowStorage storage{DType::f32, tensor.format};
    const std::int64_t row_bytes = storage.row_bytes(tensor.sizes[1]);
    read_row_values(storage, tensor.sizes[1], begin, size, to,
                    [&](std::int64_t first, std::int64_t count, std::uint8_t* rows) {
                      file_->read(bytes_of(tensor), static_cast<std::uint64_t>(first * row_bytes),
                                  static_cast<std::size_t>(count * row_bytes), rows);
                    });
  }
  void read_blocks(const StoredTensor& tensor, std::uint64_t first, std::size_t count,
                   void* to) const override {
    const auto bytes = static_cast<std::uint64_t>(tensor.format->bytes);
    file_->read(bytes_of(tensor), first * bytes, count * bytes, to);
  }

 private:
  const StoredTensor& bytes_of(const StoredTensor& tensor) const {
    return file_->tensors()[index_.at(tensor.name)];
  }

  std::shared_ptr<const TensorFile> file_;
  std::vector<StoredTensor> tensors_;                        // in the file's order
  std::unordered_map<std::string_view, std::size_t> index_;  // views of tensors_' names
};

}  // namespace

std::shared_ptr<const TensorFile> with_own_blocks(std::shared_ptr<const TensorFile> file) {
  const auto found = file->metadata().find(kBlocksKey);
  if (found == file->metadata().end()) return file;
  const Json told = parse_json(found->second, file->path());
  if (!told.is_object()) throw damaged(*file, "it is no JSON object");
  return std::make_shared<OwnBlocks>(std::move(file), told);
}

}  // namespace perilune
