#include "engine/weights/converted_file.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "engine/base/error.h"
#include "engine/weights/view_rows.h"

namespace perilune {
namespace {

constexpr float kLargestHalf = 65504;
constexpr std::int64_t kValuesAtOnce = std::int64_t{1} << 18;  // rows are widened in parts
/// A file of one matrix whose stored rows `rows` gives.
class RowsFile : public TensorFile {
 public:
  RowsFile(std::string name, std::string path, std::int64_t outputs, std::int64_t inputs,
           RowStorage storage)
      : path_(std::move(path)), inputs_(inputs), storage_(storage) {
    StoredTensor& stored = stored_.emplace_back();
    stored.name = std::move(name);
    stored.dtype = storage.dtype;
    stored.sizes = {outputs, inputs};
    stored.end = static_cast<std::uint64_t>(outputs * inputs) * dtype_size(storage.dtype);
    stored.type = storage.blocks != nullptr ? storage.blocks->name : dtype_name(storage.dtype);
    stored.format = storage.blocks;
  }

  const std::string& path() const override { return path_; }
  const std::vector<StoredTensor>& tensors() const override { return stored_; }
  const StoredTensor* find(std::string_view name) const override {
    return stored_[0].name == name ? stored_.data() : nullptr;
  }
  const std::map<std::string, std::string>& metadata() const override { return metadata_; }
  const void* mapped(const StoredTensor&) const override { return nullptr; }

  void read(const StoredTensor&, std::uint64_t begin, std::size_t size, void* to) const override {
    read_row_values(storage_, inputs_, begin, size, to, maker());
  }
  void read_blocks(const StoredTensor&, std::uint64_t first, std::size_t count,
                   void* to) const override {
    const auto bytes = static_cast<std::uint64_t>(storage_.blocks->bytes);
    read_rows(storage_, inputs_, first * bytes, count * bytes, to, maker());
  }

 protected:
  /// Whole rows as they are stored.
  virtual void rows(std::int64_t first, std::int64_t count, std::uint8_t* to) const = 0;
  const RowStorage& storage() const { return storage_; }

 private:
  StoredRows maker() const {
    return [this](std::int64_t first, std::int64_t count, std::uint8_t* to) {
      rows(first, count, to);
    };
  }

  std::string path_;
  std::int64_t inputs_;
  RowStorage storage_;
  std::vector<StoredTensor> stored_;
  std::map<std::string, std::string> metadata_;
};

class ConvertedFile final : public RowsFile {
 public:
  ConvertedFile(std::string name, StoredView view, RowStorage storage)
      : RowsFile(std::move(name), view.file->path(), view.sizes[0], view.sizes[1], storage),
        view_(std::move(view)) {}

 private:
  void rows(std::int64_t first, std::int64_t count, std::uint8_t* to) const override {
    convert_rows(view_, storage(), first, count, to);
  }

  StoredView view_;
};

class BlocksInMemory final : public RowsFile {
 public:
  BlocksInMemory(std::string name, std::int64_t outputs, std::int64_t inputs, RowStorage storage,
                 std::vector<std::uint8_t> bytes)
      : RowsFile(std::move(name), "memory", outputs, inputs, storage),
        row_bytes_(storage.row_bytes(inputs)),
        bytes_(std::move(bytes)) {}

 private:
  void rows(std::int64_t first, std::int64_t count, std::uint8_t* to) const override {
    std::memcpy(to, bytes_.data() + first * row_bytes_,
                static_cast<std::size_t>(count * row_bytes_));
  }

  std::int64_t row_bytes_;
  std::vector<std::uint8_t> bytes_;
};

/// Refuses what would not come back: no numbers, and those beyond an f16.
void require_storable(const float* values, std::int64_t count, std::int64_t inputs,
                      const StoredView& view, const RowStorage& storage, std::int64_t first) {
  const bool halves = storage.blocks != nullptr
                          ? storage.blocks->coding.scale != kernels::ScaleType::f32
                          : storage.dtype == DType::f16;
  const float most = halves ? kLargestHalf : INFINITY;
  for (std::int64_t i = 0; i < count; ++i) {
    if (std::fabs(values[i]) <= most && std::isfinite(values[i])) continue;
    throw Error(ErrorCode::argument, "quantize",
                "tensor \"" + view.stored_name + "\" has " + std::to_string(values[i]) +
                    " in row " + std::to_string(first + i / inputs) + ", which " + storage.name() +
                    " cannot store")
        .where(view.file->path())
        .hint(std::isfinite(values[i])
                  ? "scales of this type are halves, up to 65504: leave the weight as it is"
                  : "the weights are damaged, or leave this one as it is");
  }
}

void write_numbers(const float* values, std::int64_t count, DType dtype, std::uint8_t* to) {
  if (dtype == DType::f32) {
    std::memcpy(to, values, static_cast<std::size_t>(count) * sizeof(float));
    return;
  }
  for (std::int64_t i = 0; i < count; ++i) {
    const std::uint16_t bits = dtype == DType::f16 ? f32_to_f16(values[i]) : f32_to_bf16(values[i]);
    std::memcpy(to + i * 2, &bits, sizeof bits);
  }
}

}  // namespace

void convert_rows(const StoredView& view, const RowStorage& storage, std::int64_t first,
                  std::int64_t count, std::uint8_t* to) {
  const std::int64_t inputs = view.sizes[1], row_bytes = storage.row_bytes(inputs);
  const std::int64_t step =
      std::max<std::int64_t>(1, kValuesAtOnce / std::max<std::int64_t>(inputs, 1));
  std::vector<float> values;
  for (std::int64_t row = 0; row < count; row += step) {
    const std::int64_t now = std::min(step, count - row);
    values.resize(static_cast<std::size_t>(now * inputs));
    read_view_rows(view, first + row, now, values.data());
    require_storable(values.data(), now * inputs, inputs, view, storage, first + row);
    if (storage.blocks != nullptr) {
      for (std::int64_t i = 0; i < now; ++i)
        storage.blocks->write(values.data() + i * inputs, inputs, to + (row + i) * row_bytes);
    } else {
      write_numbers(values.data(), now * inputs, storage.dtype, to + row * row_bytes);
    }
  }
}

std::shared_ptr<const TensorFile> converted_file(std::string name, StoredView view,
                                                 RowStorage storage) {
  if (view.sizes.size() != 2) {
    throw Error(
        ErrorCode::shape, "quantize",
        "\"" + name + "\" is no matrix: it has " + std::to_string(view.sizes.size()) + " axes");
  }
  return std::make_shared<ConvertedFile>(std::move(name), std::move(view), storage);
}

std::shared_ptr<const TensorFile> blocks_in_memory(std::string name, std::int64_t outputs,
                                                   std::int64_t inputs, RowStorage storage,
                                                   std::vector<std::uint8_t> bytes) {
  const std::int64_t needed = outputs * storage.row_bytes(inputs);
  if (static_cast<std::int64_t>(bytes.size()) != needed) {
    throw Error(ErrorCode::shape, "quantize",
                "\"" + name + "\" takes " + std::to_string(needed) + " bytes as " + storage.name() +
                    ", " + std::to_string(bytes.size()) + " are given");
  }
  return std::make_shared<BlocksInMemory>(std::move(name), outputs, inputs, storage,
                                          std::move(bytes));
}

}  // namespace perilune
