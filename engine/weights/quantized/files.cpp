#include "engine/weights/quantized/files.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>
#include <optional>

#include "engine/weights/quantized/layouts.h"
#include "engine/weights/quantized/modules.h"

namespace perilune {
namespace {

/// The matrix whose parts were read last: reads of one come in many small pieces, those of several
/// hardly ever side by side.
struct LastLoaded {
  std::mutex mutex;
  const TensorFile* of = nullptr;
  std::shared_ptr<const LoadedMatrix> matrix;
};

/// One quantized matrix as a file of one tensor.
class QuantizedFile final : public TensorFile {
 public:
  QuantizedFile(QuantizedMatrix matrix, std::shared_ptr<const TensorFile> from,
                std::shared_ptr<const std::vector<std::int32_t>> order,
                std::shared_ptr<LastLoaded> last)
      : matrix_(std::move(matrix)),
        from_(std::move(from)),
        order_(std::move(order)),
        last_(std::move(last)) {
    StoredTensor& stored = stored_.emplace_back();
    stored.name = matrix_.name;
    stored.sizes = {matrix_.outputs, matrix_.inputs};
    stored.end = static_cast<std::uint64_t>(matrix_.outputs * matrix_.inputs) * sizeof(float);
    stored.format = format_of(matrix_);
    stored.type = stored.format != nullptr ? stored.format->name : matrix_.type;
    stored.input_order = order_;
    stored.outputs_first = true;
  }

  const std::string& path() const override { return from_->path(); }
  const std::vector<StoredTensor>& tensors() const override { return stored_; }
  const StoredTensor* find(std::string_view name) const override {
    return stored_[0].name == name ? stored_.data() : nullptr;
  }
  const std::map<std::string, std::string>& metadata() const override { return metadata_; }
  const void* mapped(const StoredTensor&) const override { return nullptr; }
  void read(const StoredTensor& tensor, std::uint64_t begin, std::size_t size,
            void* to) const override;
  void read_blocks(const StoredTensor& tensor, std::uint64_t first, std::size_t count,
                   void* to) const override;

 private:
  std::shared_ptr<const LoadedMatrix> loaded() const;
  [[noreturn]] void outside() const {
    throw Error(ErrorCode::internal, "load",
                path() + ": bytes outside of tensor \"" + matrix_.name + "\" were asked for");
  }

  QuantizedMatrix matrix_;
  std::shared_ptr<const TensorFile> from_;
  std::shared_ptr<const std::vector<std::int32_t>> order_;  // null: as they are
  std::shared_ptr<LastLoaded> last_;
  std::vector<StoredTensor> stored_;
  std::map<std::string, std::string> metadata_;
};

std::shared_ptr<const LoadedMatrix> QuantizedFile::loaded() const {
  const std::lock_guard lock(last_->mutex);
  if (last_->of != this) {
    last_->of = nullptr;
    last_->matrix = nullptr;  // before the next takes memory
    last_->matrix = std::make_shared<const LoadedMatrix>(matrix_.load());
    last_->of = this;
  }
  return last_->matrix;
}

void QuantizedFile::read(const StoredTensor& tensor, std::uint64_t begin, std::size_t size,
                         void* to) const {
  if (begin > tensor.end || size > tensor.end - begin) outside();
  if (size == 0) return;
  const auto matrix = loaded();
  std::vector<float> row(static_cast<std::size_t>(matrix_.inputs));
  const std::uint64_t row_bytes = row.size() * sizeof(float);
  for (std::uint64_t at = begin; at < begin + size;) {
    const std::uint64_t in_row = at % row_bytes;
    const auto part = static_cast<std::size_t>(std::min(row_bytes - in_row, begin + size - at));
    to_values(matrix_, *matrix, static_cast<std::int64_t>(at / row_bytes), 1, row.data());
    std::memcpy(static_cast<char*>(to) + (at - begin),
                reinterpret_cast<const char*>(row.data()) + in_row, part);
    at += part;
  }
}

void QuantizedFile::read_blocks(const StoredTensor& tensor, std::uint64_t first, std::size_t count,
                                void* to) const {
  if (tensor.format == nullptr) outside();
  const kernels::BlockFormat& format = *tensor.format;
  const auto row = static_cast<std::uint64_t>(format.row_blocks(matrix_.inputs));
  const std::uint64_t blocks = row * static_cast<std::uint64_t>(matrix_.outputs);
  if (first > blocks || count > blocks - first || first % row != 0 || count % row != 0) outside();
  const std::vector<std::int32_t> none;
  to_blocks(matrix_, *loaded(), format, order_ != nullptr ? *order_ : none,
            static_cast<std::int64_t>(first / row), static_cast<std::int64_t>(count / row),
            static_cast<std::uint8_t*>(to));
}

/// Entries that are no parts of `modules`.
std::vector<CheckpointEntry> other_entries(const QuantizationConfig& config,
                                           const std::map<std::string, QuantizedParts>& modules,
                                           const std::vector<CheckpointEntry>& all) {
  std::vector<CheckpointEntry> others;
  for (const CheckpointEntry& entry : all) {
    if (!is_quantized_part(config, modules, entry.tensor->name)) others.push_back(entry);
  }
  return others;
}

void warn_of_widened(const Context& context, const std::string& folder,
                     const std::vector<std::string>& widened) {
  if (widened.empty()) return;
  context.warn(std::to_string(widened.size()) +
                   " quantized weights have groups or levels that no block format here holds, and "
                   "become float32: \"" +
                   widened[0] + "\"" + (widened.size() > 1 ? ", ..." : ""),
               folder);
}

}  // namespace

std::vector<CheckpointEntry> join_quantized(const Context& context, const std::string& folder,
                                            std::vector<CheckpointEntry> all) {
  const std::optional<QuantizationConfig> config = read_quantization_config(folder);
  if (!config) return all;
  const auto modules = quantized_modules(*config, all);
  std::vector<CheckpointEntry> entries = other_entries(*config, modules, all);
  const auto last = std::make_shared<LastLoaded>();
  std::map<std::vector<std::int32_t>, std::shared_ptr<const std::vector<std::int32_t>>> orders;
  std::vector<std::string> widened;
  for (const auto& [module, parts] : modules) {
    QuantizedMatrix matrix = read_quantized_module(*config, parts);
    matrix.name = module + ".weight";
    // Equal orders are one object, so that products which share an input know it.
    std::vector<std::int32_t> order = packed_order(matrix);
    std::shared_ptr<const std::vector<std::int32_t>> shared;
    if (!order.empty()) {
      auto& known = orders[order];
      if (known == nullptr) known = std::make_shared<const std::vector<std::int32_t>>(order);
      shared = known;
    }
    const auto file = std::make_shared<QuantizedFile>(std::move(matrix), parts.any().file,
                                                      std::move(shared), last);
    const StoredTensor* tensor = file->tensors().data();
    if (tensor->format == nullptr) widened.push_back(tensor->name);
    entries.push_back({file, tensor});
  }
  warn_of_widened(context, folder, widened);
  std::sort(entries.begin(), entries.end(),
            [](const auto& a, const auto& b) { return a.tensor->name < b.tensor->name; });
  return entries;
}

}  // namespace perilune
