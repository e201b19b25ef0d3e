// Weights of a checkpoint that others take the place of.
#include "engine/base/error.h"
#include "engine/weights/converted_file.h"
#include "engine/weights/file_checkpoint.h"
#include "engine/weights/tensor_in_memory.h"

namespace perilune {

void FileCheckpoint::replace(std::string_view name, const Tensor& values) {
  const std::lock_guard lock(mutex_);
  if (find_name(name) == names_.end() && part_of(name) != nullptr) {
    std::string parts;
    for (const auto& [own, named] : names_) {
      if (named.view.stored_name != part_of(name)->stored_name) continue;
      parts += (parts.empty() ? "\"" : ", \"") + own + "\"";
    }
    throw Error(ErrorCode::argument, "set_weight", "\"" + std::string(name) + "\" is read in parts")
        .hint("set each by its name: " + parts);
  }
  const auto found = require(find_name(name), name);
  const StoredView& before = found->second.view;
  std::vector<std::int64_t> sizes;
  for (const Axis& axis : values.shape().axes()) sizes.push_back(axis.size);
  if (sizes != before.sizes) {
    throw Error(ErrorCode::shape, "set_weight",
                "\"" + found->first + "\" is " + described_sizes(before) + ", the tensor is " +
                    values.describe());
  }
  const std::string shared = shared_name(found);
  put(shared, std::make_shared<TensorInMemory>(shared, values.to(before.dtype)));
  changed_ = true;
}

void FileCheckpoint::replace_table(std::string_view name, const Tensor& values) {
  const std::lock_guard lock(mutex_);
  const auto found = require(find_name(name), name);
  const std::vector<std::int64_t>& before = found->second.view.sizes;
  const Shape& shape = values.shape();
  const bool as_deep = static_cast<std::size_t>(shape.rank()) == before.size() && !before.empty();
  if (!as_deep || shape.back().size != before.back()) {
    throw Error(ErrorCode::shape, "load",
                "\"" + found->first + "\" is " + described_sizes(found->second.view) +
                    ", the table in its place is " + values.describe());
  }
  const std::string shared = shared_name(found);
  put(shared, std::make_shared<TensorInMemory>(shared, values));
}

void FileCheckpoint::put(const std::string& shared, const std::shared_ptr<const TensorFile>& file) {
  const StoredView view = whole_view({file, file->tensors().data()});
  for (auto& [own, named] : names_) {
    if (own != shared && named.same_as != shared) continue;
    named.view = view;
    named.weight = nullptr;
    named.tensor = Tensor();
  }
}

void FileCheckpoint::put_rows(std::string_view path,
                              const std::function<std::shared_ptr<const TensorFile>(
                                  const std::string& name, const StoredView& view)>& make) {
  const std::lock_guard lock(mutex_);
  const auto found = require(find_name(path), path);
  const StoredView before = found->second.view;
  const std::string shared = shared_name(found);
  put(shared, make(shared, before));
  count_types();
}

void FileCheckpoint::store_as(std::string_view path, const RowStorage& storage) {
  put_rows(path, [&](const std::string& name, const StoredView& view) {
    return converted_file(name, view, storage);
  });
}

void FileCheckpoint::store_blocks(std::string_view path, const RowStorage& storage,
                                  std::vector<std::uint8_t> blocks) {
  put_rows(path, [&](const std::string& name, const StoredView& view) {
    return blocks_in_memory(name, view.sizes.at(0), view.sizes.at(1), storage, std::move(blocks));
  });
}

FileCheckpoint::FileCheckpoint(const FileCheckpoint& other)
    : Checkpoint(other),
      context_(other.context_),
      folder_(other.folder_),
      stored_(other.stored_),
      names_(other.names_),
      main_dtype_(other.main_dtype_),
      main_blocks_(other.main_blocks_),
      stored_bytes_(other.stored_bytes_),
      changed_(other.changed_) {
  for (auto& [name, named] : names_) named.tensor = Tensor();  // a script may free one
}

std::shared_ptr<Checkpoint> FileCheckpoint::copy_of_all() const {
  const std::lock_guard lock(mutex_);
  return std::make_shared<FileCheckpoint>(*this);
}

}  // namespace perilune
