#include "engine/weights/adapter_file.h"

#include <algorithm>

#include "engine/base/error.h"
#include "engine/weights/open_tensor_file.h"

namespace perilune {

namespace {

class AdapterReader {
 public:
  AdapterReader(std::shared_ptr<Context> context, Checkpoint& checkpoint, std::int64_t number,
                const std::string& path, CheckpointOptions options)
      : context_(std::move(context)),
        checkpoint_(checkpoint),
        number_(number),
        file_(open_tensor_file(path, options.map)),
        stored_(std::move(options)),
        outputs_first_(stored_) {
    // B has a row for each output already, also where the base is stored the other way.
    for (WeightView& view : outputs_first_.views) view.transpose = false;
  }

  void read(const AdapterModule& module, std::vector<std::string>& paths) const {
    const std::string name = strip_prefix(module.module, stored_.prefixes);
    if (module.embedding) return read_embedding(module, name, paths);
    if (!module.down.empty()) return read_low_rank(module, name, paths);
    const bool whole = !module.whole.empty();
    const std::vector<NamedView> views =
        apply_views(name + (whole ? ".weight" : ".bias"), view(whole ? module.whole : module.bias),
                    whole ? stored_ : outputs_first_);
    for (const NamedView& part : views) {
      ModuleAdapter change;
      change.adapter = number_;
      const std::string path = path_of(part.name);
      if (whole) {
        change.whole = weight(path, part.view, 2);
        expect_size(path, part.view, 0, outputs(path), "outputs");
        expect_size(path, part.view, 1, inputs(path), "inputs");
      }
      change.bias = biases(module, name, path, !whole);
      add(path, std::move(change), paths);
    }
  }

 private:
  void read_low_rank(const AdapterModule& module, const std::string& name,
                     std::vector<std::string>& paths) const {
    const StoredView down = view(module.down);
    const std::vector<NamedView> ups =
        apply_views(name + ".weight", view(module.up), outputs_first_);
    for (const NamedView& up : ups) {
      const std::string path = path_of(up.name);
      ModuleAdapter change;
      change.adapter = number_;
      change.down = weight(path, down, 2);
      change.up = weight(path, up.view, 2);
      change.scale = static_cast<float>(module.scale);
      expect_size(path, down, 1, inputs(path), "inputs");
      expect_size(path, up.view, 0, outputs(path), "outputs");
      expect_size(path, up.view, 1, down.sizes[0], "ranks");
      change.bias = biases(module, name, path, true);
      add(path, std::move(change), paths);
    }
  }

  /// A's columns belong to ids: they are read as the rows of a table.
  void read_embedding(const AdapterModule& module, const std::string& name,
                      std::vector<std::string>& paths) const {
    const std::string path =
        path_of(apply_views(name + ".weight", view(module.up), outputs_first_).front().name);
    StoredView down = view(module.down);
    const StoredView up = view(module.up);
    ModuleAdapter change;
    change.adapter = number_;
    change.up = weight(path, up, 2);
    (void)weight(path, down, 2);
    std::swap(down.sizes[0], down.sizes[1]);
    std::swap(down.strides[0], down.strides[1]);
    change.down = weight(path, down, 2);
    change.scale = static_cast<float>(module.scale);
    expect_size(path, down, 0, outputs(path), "ids");
    expect_size(path, up, 0, inputs(path), "outputs");
    expect_size(path, up, 1, down.sizes[1], "ranks");
    add(path, std::move(change), paths);
  }

  void add(const std::string& path, ModuleAdapter change, std::vector<std::string>& paths) const {
    checkpoint_.adapters().add(path, std::move(change));
    paths.push_back(path);
  }

  static std::string path_of(const std::string& name) { return name.substr(0, name.rfind('.')); }

  StoredView view(const std::string& key) const {
    const StoredTensor* stored = file_->find(key);
    if (stored == nullptr) {
      throw Error(ErrorCode::format, "load", "the adapter has no tensor \"" + key + "\"")
          .where(file_->path());
    }
    return whole_view({file_, stored});
  }

  std::shared_ptr<Weight> weight(const std::string& path, const StoredView& stored,
                                 std::size_t rank) const {
    if (stored.sizes.size() != rank) {
      throw Error(ErrorCode::shape, "load",
                  "the adapter's \"" + stored.stored_name + "\" is " + sizes_text(stored.sizes) +
                      ", a layer's change is a matrix")
          .where(file_->path());
    }
    return std::make_shared<Weight>(context_, path, stored);
  }

  std::int64_t base_size(const std::string& path, std::size_t axis) const {
    const auto base = checkpoint_.find(path + ".weight");
    if (!base || base->sizes.size() != 2) {
      Error error(ErrorCode::format, "load",
                  "the adapter changes \"" + path + "\", which is no layer of this model");
      const std::string guess = did_you_mean(path + ".weight", checkpoint_.names());
      throw error.hint(guess.empty() ? "was it made for another model?" : guess)
          .where(file_->path());
    }
    return base->sizes[axis];
  }
  std::int64_t outputs(const std::string& path) const { return base_size(path, 0); }
  std::int64_t inputs(const std::string& path) const { return base_size(path, 1); }

  void expect_size(const std::string& path, const StoredView& stored, std::size_t axis,
                   std::int64_t size, const char* what) const {
    if (stored.sizes[axis] == size) return;
    throw Error(ErrorCode::shape, "load",
                "the adapter's \"" + stored.stored_name + "\" is " + sizes_text(stored.sizes) +
                    ", \"" + path + "\" has " + std::to_string(size) + " " + what)
        .hint("was it made for another model?")
        .where(file_->path());
  }

  /// The part of the vector `key` that belongs to `path`, times `scale`, added to `sum`.
  void add_bias(const std::string& key, const std::string& name, const std::string& path,
                float scale, std::vector<float>& sum) const {
    if (key.empty()) return;
    for (const NamedView& part : apply_views(name + ".bias", view(key), outputs_first_)) {
      if (path_of(part.name) != path || part.view.sizes.size() != 1) continue;
      expect_size(path, part.view, 0, outputs(path), "outputs");
      const Tensor values = read_view(context_, part.view, {"output"}).to(DType::f32);
      sum.resize(static_cast<std::size_t>(part.view.sizes[0]), 0.0f);
      for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += values.as<float>()[i] * scale;
    }
  }

  /// What is added to the outputs; `beside`: to those with the base's own bias.
  Tensor biases(const AdapterModule& module, const std::string& name, const std::string& path,
                bool beside) const {
    std::vector<float> sum;
    add_bias(module.bias, name, path, 1.0f, sum);
    if (!sum.empty() && beside && checkpoint_.find(path + ".bias")) {
      const Tensor base = checkpoint_.copy(path + ".bias", {"output"});
      for (std::size_t i = 0; i < sum.size(); ++i) sum[i] -= base.as<float>()[i];
    }
    add_bias(module.up_bias, name, path, static_cast<float>(module.scale), sum);
    if (sum.empty() && !beside && checkpoint_.find(path + ".bias")) {
      return checkpoint_.copy(path + ".bias", {"output"}).as_read_only();
    }
    if (sum.empty()) return {};
    Tensor bias = Tensor::zeros(context_, DType::f32,
                                Shape({{"output", static_cast<std::int64_t>(sum.size()), 0}}));
    std::copy(sum.begin(), sum.end(), bias.as<float>());
    return bias.as_read_only();
  }

  std::shared_ptr<Context> context_;
  Checkpoint& checkpoint_;
  std::int64_t number_;
  std::shared_ptr<const TensorFile> file_;
  CheckpointOptions stored_, outputs_first_;
};

}  // namespace

std::vector<std::string> read_adapter(const std::shared_ptr<Context>& context,
                                      Checkpoint& checkpoint, std::int64_t number,
                                      const std::string& path,
                                      const std::vector<AdapterModule>& modules,
                                      CheckpointOptions options) {
  const AdapterReader reader(context, checkpoint, number, path, std::move(options));
  std::vector<std::string> paths;
  for (const AdapterModule& module : modules) reader.read(module, paths);
  return paths;
}

}  // namespace perilune
