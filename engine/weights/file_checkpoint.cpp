#include "engine/weights/file_checkpoint.h"

#include <algorithm>
#include <array>
#include <set>

#include "engine/base/error.h"
#include "engine/files/own_blocks.h"
#include "engine/weights/folder_files.h"
#include "engine/weights/quantized/files.h"

namespace perilune {
namespace {

/// The elements of a view as f32.
Tensor read_values(const std::shared_ptr<Context>& context, const StoredView& view,
                   const std::vector<std::string>& axes) {
  Tensor read = read_view(context, view, axes).to(DType::f32);
  if (view.offset_value == 0) return read;
  float* values = read.as<float>();
  for (std::size_t i = 0; i < read.bytes() / sizeof(float); ++i) values[i] += view.offset_value;
  return read;
}

std::string untied(const std::string& name, const std::string& first) {
  return "\"" + name + "\" is stored with other values than \"" + first +
         "\", though config.json ties them; each is used for itself";
}

}  // namespace

std::string described_sizes(const StoredView& view) {
  return std::string(dtype_name(view.dtype)) + sizes_text(view.sizes);
}

FileCheckpoint::FileCheckpoint(std::shared_ptr<Context> context, std::string folder,
                               const CheckpointOptions& options)
    : context_(std::move(context)), folder_(std::move(folder)) {
  auto [stored, unlisted] = open_checkpoint_files(*context_, folder_, options.map);
  const std::vector<CheckpointEntry> entries =
      join_quantized(*context_, folder_, std::move(stored));
  for (const CheckpointEntry& entry : entries) {
    add(entry, entry.tensor->name, options);
    if (unlisted.contains(entry.tensor->name)) stored_.back().unused = true;
  }
  count_types();
  add_shared_names(entries, options);
  for (const std::vector<std::string>& names : options.ties) tie(names);
}

/// Blocks count as what a file is made of from this part of its elements on: a small model's
/// embeddings, which are numbers, may have more than its layers.
constexpr std::uint64_t kLeastShare = 4;

void FileCheckpoint::count_types() {
  std::array<std::uint64_t, 3> bytes{};                           // f32, f16, bf16
  std::map<const kernels::BlockFormat*, std::uint64_t> elements;  // null: numbers
  stored_bytes_ = 0;
  for (const auto& [name, named] : names_) {
    if (!named.same_as.empty()) continue;
    const StoredTensor* stored = named.view.file->find(named.view.stored_name);
    std::uint64_t count = 1;
    for (const std::int64_t size : named.view.sizes) count *= static_cast<std::uint64_t>(size);
    const std::uint64_t size = count * dtype_size(named.view.dtype);
    elements[stored->format] += count;
    if (stored->readable && is_float(stored->dtype)) {
      bytes[static_cast<std::size_t>(stored->dtype)] += size;
    }
    const kernels::BlockFormat* format = stored->format;
    stored_bytes_ += format == nullptr ? size
                                       : count / static_cast<std::uint64_t>(format->elements) *
                                             static_cast<std::uint64_t>(format->bytes);
  }
  main_dtype_ = static_cast<DType>(std::max_element(bytes.begin(), bytes.end()) - bytes.begin());
  main_blocks_ = nullptr;
  std::uint64_t most = 0, all = 0;
  for (const auto& [format, count] : elements) {
    all += count;
    if (format != nullptr && count > most) main_blocks_ = format;
    if (format != nullptr) most = std::max(most, count);
  }
  if (most < all / kLeastShare) main_blocks_ = nullptr;
}

/// safetensors' save_model stores one of the names that share a tensor, and notes the others in
/// the metadata: name left out → name kept.
void FileCheckpoint::add_shared_names(const std::vector<CheckpointEntry>& entries,
                                      const CheckpointOptions& options) {
  std::map<std::string_view, const CheckpointEntry*> stored;
  std::set<const TensorFile*> files;
  for (const CheckpointEntry& entry : entries) stored[entry.tensor->name] = &entry;
  for (const CheckpointEntry& entry : entries) {
    if (!files.insert(entry.file.get()).second) continue;
    for (const auto& [left_out, kept] : entry.file->metadata()) {
      const auto found = stored.find(kept);
      if (found == stored.end() || stored.contains(left_out)) continue;
      const std::size_t names = names_.size();
      add(*found->second, left_out, options);
      stored_.back().unused = true;
      const std::string kept_name = strip_prefix(kept, options.prefixes);
      const std::string name = strip_prefix(left_out, options.prefixes);
      if (names_.size() == names + 1 && names_.contains(kept_name) && names_.contains(name)) {
        names_.find(name)->second.same_as = kept_name;
      }
    }
  }
}

/// One tensor under several names, of which any may be stored; the first is what passes ask for.
/// Names that are stored with other values stay by themselves, as in the published implementation.
void FileCheckpoint::tie(const std::vector<std::string>& names) {
  const std::string& first = names.front();
  for (const std::string& name : names) {
    if (name == first || !names_.contains(name)) continue;
    if (!names_.contains(first)) {
      share(first, name);
    } else if (names_.find(first)->second.same_as.empty() &&
               names_.find(name)->second.same_as.empty()) {
      if (same_elements(names_.find(first)->second.view, names_.find(name)->second.view)) {
        names_.find(name)->second.same_as = first;
      } else {
        context_->warn(untied(name, first), folder_);
      }
    }
  }
}

/// `name` becomes another name of the elements of `with`.
void FileCheckpoint::share(const std::string& name, const std::string& with) {
  Named shared;
  shared.view = names_.find(with)->second.view;
  shared.same_as = with;
  shared.stored = stored_.size();
  stored_.push_back({name, true});
  names_.emplace(name, std::move(shared));
}

void FileCheckpoint::add(const CheckpointEntry& entry, const std::string& stored_name,
                         const CheckpointOptions& options) {
  const auto& metadata = entry.file->metadata();
  const auto kind = metadata.find(kNamesKey);
  const bool modules = kind != metadata.end() && kind->second == kModuleNames;
  const std::string name = modules ? stored_name : strip_prefix(stored_name, options.prefixes);
  std::vector<NamedView> views{{name, whole_view(entry)}};
  if (!modules) {
    views = apply_views(name, whole_view(entry), options);
    for (NamedView& view : views) apply_row_rules(view, options);
  }
  const auto fits = [](const std::string& pattern, const std::string& candidate) {
    return matches_pattern(pattern, candidate);
  };
  bool unused = false;
  for (const std::string& pattern : options.unused) {
    unused = unused || fits(pattern, name) || fits(pattern, stored_name);
    for (const NamedView& view : views) unused = unused || fits(pattern, view.name);
  }
  const std::size_t stored = stored_.size();
  stored_.push_back({stored_name, unused});
  for (const NamedView& view : views) {
    const auto [position, fresh] = names_.try_emplace(view.name);
    const bool renamed = view.name != name;
    if (!fresh && renamed != position->second.renamed) {
      settle(position->second, {view.view, stored, renamed});
      continue;
    }
    if (!fresh) {
      throw Error(ErrorCode::format, "load",
                  "two stored tensors mean \"" + view.name + "\": \"" +
                      stored_[position->second.stored].name + "\" and \"" + stored_name + "\"")
          .where(folder_);
    }
    position->second.view = view.view;
    position->second.stored = stored;
    position->second.renamed = renamed;
  }
}

/// Of a tensor that has a name and one that a view gives it, the latter is read, as published:
/// newer files have the newer name, and older programs look for the older one.
void FileCheckpoint::settle(Named& known, Named again) {
  if (!same_elements(known.view, again.view)) {
    context_->warn("\"" + known.view.stored_name + "\" and \"" + again.view.stored_name +
                       "\" mean one weight and hold other values; \"" +
                       (again.renamed ? again : known).view.stored_name + "\" is used",
                   folder_);
  }
  stored_[(again.renamed ? known : again).stored].unused = true;
  if (again.renamed) known = std::move(again);
}

FileCheckpoint::Names::const_iterator FileCheckpoint::find_name(std::string_view path) const {
  const auto found = names_.find(std::string(path) + ".weight");
  return found != names_.end() ? found : names_.find(path);
}

const StoredView* FileCheckpoint::part_of(std::string_view stored_name) const {
  for (const auto& [own, named] : names_) {
    const std::string& stored = named.view.stored_name;
    if (!stored.ends_with(stored_name) || named.view.file->find(stored) == nullptr) continue;
    if (stored.size() == stored_name.size() ||
        stored[stored.size() - stored_name.size() - 1] == '.') {
      return &named.view;
    }
  }
  return nullptr;
}

FileCheckpoint::Names::const_iterator FileCheckpoint::require(Names::const_iterator found,
                                                              std::string_view asked) const {
  if (found != names_.end()) return found;
  Error error(ErrorCode::format, "load",
              "the checkpoint has no tensor \"" + std::string(asked) + "\"");
  error.where(folder_);
  const std::string guess = did_you_mean(asked, names());
  if (!guess.empty()) error.hint(guess);
  throw error;
}

std::shared_ptr<Weight> FileCheckpoint::weight(std::string_view path) {
  const std::lock_guard lock(mutex_);
  const auto found = find_name(path);
  Named& named = names_.find(require(found, std::string(path) + ".weight")->first)->second;
  const auto shared = names_.find(named.same_as);
  if (shared != names_.end()) {
    Named& same = shared->second;
    if (same.weight == nullptr) {
      same.weight = std::make_shared<Weight>(context_, std::string(path), same.view);
    }
    same.read = true;
    named.weight = same.weight;
  }
  if (named.weight == nullptr) {
    named.weight = std::make_shared<Weight>(context_, std::string(path), named.view);
  }
  named.read = true;
  return named.weight;
}

std::optional<StoredView> FileCheckpoint::find(std::string_view name) const {
  const auto found = find_name(name);
  if (found == names_.end()) return std::nullopt;
  return found->second.view;
}

Tensor FileCheckpoint::tensor(std::string_view name, const std::vector<std::string>& axes) {
  const std::lock_guard lock(mutex_);
  Named& named = names_.find(require(names_.find(name), name)->first)->second;
  const std::vector<std::int64_t>& sizes = named.view.sizes;
  if (axes.size() != sizes.size()) {
    throw Error(ErrorCode::shape, "load",
                "tensor \"" + std::string(name) + "\" is " + described_sizes(named.view) +
                    ", the family expects " + std::to_string(axes.size()) +
                    (axes.size() == 1 ? " axis" : " axes"))
        .where(folder_);
  }
  if (!named.tensor.defined() || named.tensor.storage()->freed()) {
    named.tensor = read_values(context_, named.view, axes).as_read_only();
  }
  named.read = true;
  std::vector<Axis> named_axes;
  for (std::size_t i = 0; i < sizes.size(); ++i) named_axes.push_back({axes[i], sizes[i], 0});
  return named.tensor.with_shape(Shape(named_axes));
}

Tensor FileCheckpoint::copy(std::string_view name, const std::vector<std::string>& axes) const {
  StoredView view;
  {
    const std::lock_guard lock(mutex_);
    if (find_name(name) == names_.end()) {
      if (const StoredView* part = part_of(name)) {
        return read_tensor(context_, *part->file, *part->file->find(part->stored_name))
            .to(DType::f32);
      }
    }
    view = require(find_name(name), name)->second.view;
  }
  return read_values(context_, view, axes);
}

void FileCheckpoint::touch(std::string_view name) {
  const std::lock_guard lock(mutex_);
  auto found = names_.find(name);
  if (found == names_.end()) found = names_.find(std::string(name) + ".weight");
  if (found != names_.end()) found->second.read = true;
}

std::vector<std::string> FileCheckpoint::unread() const {
  const std::lock_guard lock(mutex_);
  std::set<std::string> unread;
  for (const auto& [name, named] : names_) {
    const Stored& stored = stored_[named.stored];
    if (!named.read && !stored.unused) unread.insert(stored.name);
  }
  return {unread.begin(), unread.end()};
}

std::vector<std::string> FileCheckpoint::names() const {
  std::vector<std::string> names;
  names.reserve(names_.size());
  for (const auto& [name, named] : names_) names.push_back(name);
  return names;
}

std::vector<std::pair<std::string, std::string>> FileCheckpoint::to_save() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::pair<std::string, std::string>> names;
  for (const auto& [name, named] : names_) {
    const bool asked = named.read || !named.same_as.empty() || !stored_[named.stored].unused;
    if (asked) names.emplace_back(name, named.same_as);
  }
  return names;
}

std::optional<std::string> FileCheckpoint::metadata(std::string_view key) const {
  const std::lock_guard lock(mutex_);
  for (const auto& [name, named] : names_) {
    const auto& all = named.view.file->metadata();
    const auto found = all.find(std::string(key));
    if (found != all.end()) return found->second;
  }
  return std::nullopt;
}

std::uint64_t FileCheckpoint::packed_bytes(const Device* on) const {
  const std::lock_guard lock(mutex_);
  std::uint64_t total = 0;
  for (const auto& [name, named] : names_) {
    if (named.weight == nullptr || !named.same_as.empty()) continue;
    total += named.weight->packed_bytes(on);
  }
  return total + adapters().packed_bytes(on);
}

std::shared_ptr<Checkpoint> Checkpoint::open(const std::shared_ptr<Context>& context,
                                             const std::string& folder,
                                             const CheckpointOptions& options) {
  return std::make_shared<FileCheckpoint>(context, folder, options);
}

}  // namespace perilune
