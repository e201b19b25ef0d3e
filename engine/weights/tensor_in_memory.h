// A tensor of a script where a stored one is expected.
#pragma once

#include <cstring>
#include <utility>

#include "engine/files/tensor_file.h"

namespace perilune {

/// A file of one tensor, which it keeps.
class TensorInMemory final : public TensorFile {
 public:
  TensorInMemory(std::string name, const Tensor& values)
      : values_(values.to(values.context()->cpu_device()).copy()) {
    StoredTensor& stored = stored_.emplace_back();
    stored.name = std::move(name);
    stored.dtype = values_.dtype();
    for (const Axis& axis : values_.shape().axes()) stored.sizes.push_back(axis.size);
    stored.end = values_.bytes();
    stored.type = dtype_name(values_.dtype());
  }

  const std::string& path() const override { return path_; }
  const std::vector<StoredTensor>& tensors() const override { return stored_; }
  const StoredTensor* find(std::string_view name) const override {
    return stored_[0].name == name ? stored_.data() : nullptr;
  }
  void read(const StoredTensor&, std::uint64_t begin, std::size_t size, void* to) const override {
    std::memcpy(to, static_cast<const char*>(values_.data()) + begin, size);
  }
  const std::map<std::string, std::string>& metadata() const override { return metadata_; }
  const void* mapped(const StoredTensor&) const override { return nullptr; }

 private:
  std::string path_ = "memory";
  std::vector<StoredTensor> stored_;
  std::map<std::string, std::string> metadata_;
  Tensor values_;
};

}  // namespace perilune
