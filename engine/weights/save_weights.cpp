#include "engine/weights/save_weights.h"

#include <algorithm>
#include <cctype>
#include <cstring>
#include <utility>

#include "engine/base/error.h"
#include "engine/base/json.h"
#include "engine/files/own_blocks.h"
#include "engine/files/safetensors.h"
#include "engine/weights/read_in_parallel.h"
#include "engine/weights/view_rows.h"
#include "engine/weights/weight.h"

namespace perilune {
namespace {

constexpr std::size_t kWrittenAtOnce = std::size_t{4} << 20;  // bytes of a weight in memory
constexpr std::size_t kMadeAtOnce = std::size_t{1} << 17;     // bytes that a thread makes

/// Counts what is handed to a sink.
class Counter {
 public:
  Counter(SaveProgress progress, std::size_t total)
      : progress_(std::move(progress)), total_(total) {}
  void add(std::size_t bytes) {
    done_ += bytes;
    if (progress_) progress_(done_, total_);
  }

 private:
  SaveProgress progress_;
  std::size_t done_ = 0, total_;
};

/// A matrix's rows as they are stored, made on all threads.
void write_rows(const Context& context, const StoredView& view, const ByteSink& sink,
                Counter& counter) {
  const RowStorage storage = storage_of(view);
  const auto row_bytes = static_cast<std::size_t>(storage.row_bytes(view.sizes[1]));
  if (row_bytes == 0) return;
  const auto outputs = static_cast<std::size_t>(view.sizes[0]);
  const std::size_t step = std::max<std::size_t>(1, kWrittenAtOnce / row_bytes);
  std::vector<std::uint8_t> rows;
  for (std::size_t row = 0; row < outputs; row += step) {
    const std::size_t count = std::min(step, outputs - row);
    rows.resize(count * row_bytes);
    read_in_parallel(context, count, std::max<std::size_t>(1, kMadeAtOnce / row_bytes),
                     [&](std::size_t first, std::size_t some) {
                       read_stored_rows(view, static_cast<std::int64_t>(row + first),
                                        static_cast<std::int64_t>(some),
                                        rows.data() + first * row_bytes);
                     });
    sink(rows.data(), rows.size());
    counter.add(rows.size());
  }
}

/// Any other tensor, whole, with `added` to its numbers.
Tensor whole(const std::shared_ptr<Context>& context, const StoredView& view, float added,
             bool as_f32) {
  std::vector<std::string> axes;
  for (std::size_t i = 0; i < view.sizes.size(); ++i)
    axes.push_back("axis" + std::to_string(i + 1));
  Tensor read = read_view(context, view, axes);
  added += view.offset_value;
  if (added == 0 && !as_f32) return read;
  read = read.to(DType::f32).copy();
  float* values = read.as<float>();
  for (std::size_t i = 0; i < read.bytes() / sizeof(float); ++i) values[i] += added;
  return read;
}

/// As it is stored; blocks whose inputs are in an order of their own are written as numbers.
RowStorage saved_storage(const StoredView& view) {
  const StoredTensor* stored = view.file->find(view.stored_name);
  const bool in_order = stored == nullptr || stored->input_order == nullptr;
  return in_order ? storage_of(view) : RowStorage{view.dtype, nullptr};
}

bool is_matrix(const StoredView& view) {
  const StoredTensor* stored = view.file->find(view.stored_name);
  if (stored != nullptr && stored->input_order != nullptr) return false;
  return view.sizes.size() == 2 && is_float(view.dtype) && view.offset_value == 0;
}

std::uint64_t matrix_bytes(const StoredView& view) {
  return static_cast<std::uint64_t>(storage_of(view).row_bytes(view.sizes[1]) * view.sizes[0]);
}

std::uint64_t elements_of(const StoredView& view) {
  std::uint64_t count = 1;
  for (const std::int64_t size : view.sizes) count *= static_cast<std::uint64_t>(size);
  return count;
}

/// Row 2i + j of a head is row j * head_rows / 2 + i of what passes ask for.
void pair_rows(std::vector<std::uint8_t>& rows, std::size_t row_bytes, std::size_t head_rows) {
  const std::vector<std::uint8_t> before = rows;
  const std::size_t half = head_rows / 2;
  for (std::size_t row = 0; row < rows.size() / row_bytes; ++row) {
    const std::size_t in_head = row % head_rows;
    const std::size_t from = row - in_head + in_head % 2 * half + in_head / 2;
    std::memcpy(rows.data() + row * row_bytes, before.data() + from * row_bytes, row_bytes);
  }
}

StoredView require(const Checkpoint& checkpoint, const std::string& name) {
  const auto view = checkpoint.find(name);
  if (view) return *view;
  throw Error(ErrorCode::internal, "save", "there is no weight \"" + name + "\"");
}

std::string upper(std::string text) {
  for (char& letter : text) {
    letter = static_cast<char>(std::toupper(static_cast<unsigned char>(letter)));
  }
  return text;
}

/// What one tensor of a GGUF file is made of.
class GgufSource {
 public:
  GgufSource(std::shared_ptr<Context> context, const Checkpoint& checkpoint, GgufWeight weight)
      : context_(std::move(context)), weight_(std::move(weight)) {
    for (const std::string& name : weight_.sources) views_.push_back(require(checkpoint, name));
    if (views_.empty()) return;
    matrix_ = is_matrix(views_.front()) && weight_.added == 0;
    storage_ = matrix_ ? storage_of(views_.front()) : RowStorage{};
    for (const StoredView& view : views_) require_alike(view);
  }

  GgufTensorToWrite tensor(Counter& counter) const {
    GgufTensorToWrite out;
    out.name = weight_.name;
    if (views_.empty()) {
      out.type = find_gguf_tensor_type("F32");
      out.sizes = {static_cast<std::int64_t>(weight_.values.size())};
      out.bytes = weight_.values.size() * sizeof(float);
      out.write = [this](const ByteSink& sink) {
        sink(weight_.values.data(), weight_.values.size() * sizeof(float));
      };
      return out;
    }
    out.type = find_gguf_tensor_type(upper(storage_.name()));
    if (out.type == nullptr) {
      throw Error(ErrorCode::unsupported, "save",
                  "\"" + weight_.sources.front() + "\" is stored as " + storage_.name() +
                      ", which GGUF has no type for")
          .hint("quantize it to a GGUF type (q4_0, q8_0, q4_k, q6_k, ...), f16 or bf16");
    }
    out.sizes = views_.front().sizes;
    out.sizes[0] = 0;
    for (const StoredView& view : views_) {
      out.sizes[0] += view.sizes[0];
      out.bytes += matrix_ ? matrix_bytes(view) : elements_of(view) * sizeof(float);
    }
    out.write = [this, &counter](const ByteSink& sink) {
      for (const StoredView& view : views_) write(view, sink, counter);
    };
    return out;
  }

 private:
  void require_alike(const StoredView& view) const {
    const bool tails = std::equal(view.sizes.begin() + 1, view.sizes.end(),
                                  views_.front().sizes.begin() + 1, views_.front().sizes.end());
    const bool same = !matrix_ || std::strcmp(storage_of(view).name(), storage_.name()) == 0;
    if (tails && same && is_float(view.dtype)) return;
    throw Error(ErrorCode::shape, "save",
                "\"" + weight_.name + "\" is made of parts that are not alike: \"" +
                    weight_.sources.front() + "\" " + storage_.name() +
                    sizes_text(views_.front().sizes) + " and " + storage_of(view).name() +
                    sizes_text(view.sizes))
        .hint("give all of them the same type");
  }

  void write(const StoredView& view, const ByteSink& sink, Counter& counter) const {
    if (matrix_ && weight_.head_rows == 0) return write_rows(*context_, view, sink, counter);
    std::vector<std::uint8_t> rows;
    const auto collect = [&](const void* bytes, std::size_t size) {
      const auto* first = static_cast<const std::uint8_t*>(bytes);
      rows.insert(rows.end(), first, first + size);
    };
    if (matrix_) {
      write_rows(*context_, view, collect, counter);
    } else {
      const Tensor values = whole(context_, view, weight_.added, true);
      collect(values.data(), values.bytes());
      counter.add(values.bytes());
    }
    if (weight_.head_rows != 0) {
      pair_rows(rows, rows.size() / static_cast<std::size_t>(view.sizes[0]),
                static_cast<std::size_t>(weight_.head_rows));
    }
    sink(rows.data(), rows.size());
  }

  std::shared_ptr<Context> context_;
  GgufWeight weight_;
  std::vector<StoredView> views_;
  bool matrix_ = false;
  RowStorage storage_;
};

}  // namespace

void save_weights(const std::shared_ptr<Context>& context, const Checkpoint& checkpoint,
                  const std::string& path, std::map<std::string, std::string> metadata,
                  const SaveProgress& progress) {
  std::vector<TensorToWrite> tensors;
  std::vector<StoredView> views;
  const auto names = checkpoint.to_save();
  views.reserve(names.size());
  Json blocks = Json::object();
  std::size_t total = 0;
  for (const auto& [name, same_as] : names) {
    if (!same_as.empty()) {
      metadata[name] = same_as;
      continue;
    }
    views.push_back(require(checkpoint, name));
    const StoredView& view = views.back();
    TensorToWrite& tensor = tensors.emplace_back();
    tensor.name = name;
    tensor.dtype = view.dtype;
    tensor.sizes = view.sizes;
    tensor.bytes = elements_of(view) * dtype_size(view.dtype);
    if (const RowStorage storage = saved_storage(view); storage.blocks != nullptr) {
      tensor.dtype = DType::u8;
      tensor.sizes[1] = storage.row_bytes(view.sizes[1]);
      tensor.bytes = matrix_bytes(view);
      blocks.set(name, Json::array().push(Json(storage.name())).push(Json(view.sizes[1])));
    }
    total += tensor.bytes;
  }
  Counter counter(progress, total);
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    tensors[i].write = [&, i](const ByteSink& sink) {
      if (is_matrix(views[i])) return write_rows(*context, views[i], sink, counter);
      const Tensor values = whole(context, views[i], 0, false);
      sink(values.data(), values.bytes());
      counter.add(values.bytes());
    };
  }
  metadata[kNamesKey] = kModuleNames;
  if (!blocks.empty()) metadata[kBlocksKey] = write_json(blocks);
  write_safetensors(path, tensors, metadata);
}

void save_gguf(const std::shared_ptr<Context>& context, const Checkpoint& checkpoint,
               const std::string& path, const std::vector<GgufPair>& keys,
               const std::vector<GgufWeight>& weights, const SaveProgress& progress) {
  std::vector<GgufSource> sources;
  sources.reserve(weights.size());
  for (const GgufWeight& weight : weights) sources.emplace_back(context, checkpoint, weight);
  Counter none({}, 0);
  std::size_t total = 0;
  for (const GgufSource& source : sources) total += source.tensor(none).bytes;
  Counter counter(progress, total);
  std::vector<GgufTensorToWrite> tensors;
  tensors.reserve(sources.size());
  for (const GgufSource& source : sources) tensors.push_back(source.tensor(counter));
  write_gguf(path, keys, tensors);
}

}  // namespace perilune
