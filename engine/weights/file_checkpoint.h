// The weights of a folder or GGUF file by the names that passes ask for.
#pragma once

#include <functional>
#include <mutex>

#include "engine/weights/checkpoint.h"

namespace perilune {

class FileCheckpoint final : public Checkpoint {
 public:
  FileCheckpoint(std::shared_ptr<Context> context, std::string folder,
                 const CheckpointOptions& options);
  FileCheckpoint(const FileCheckpoint& other);

  const std::string& folder() const override { return folder_; }
  bool has(std::string_view path) const override { return find_name(path) != names_.end(); }
  std::shared_ptr<Weight> weight(std::string_view path) override;
  std::optional<StoredView> find(std::string_view name) const override;
  Tensor tensor(std::string_view name, const std::vector<std::string>& axes) override;
  Tensor copy(std::string_view name, const std::vector<std::string>& axes) const override;
  void replace(std::string_view name, const Tensor& values) override;
  void replace_table(std::string_view name, const Tensor& values) override;
  void store_as(std::string_view path, const RowStorage& storage) override;
  void store_blocks(std::string_view path, const RowStorage& storage,
                    std::vector<std::uint8_t> blocks) override;
  std::shared_ptr<Checkpoint> copy_of_all() const override;
  bool changed() const override { return changed_; }
  void touch(std::string_view name) override;
  std::vector<std::string> unread() const override;
  std::vector<std::string> names() const override;
  std::vector<std::pair<std::string, std::string>> to_save() const override;
  std::optional<std::string> metadata(std::string_view key) const override;
  DType main_dtype() const override { return main_dtype_; }
  const kernels::BlockFormat* main_blocks() const override { return main_blocks_; }
  std::uint64_t stored_bytes() const override { return stored_bytes_; }
  std::uint64_t packed_bytes(const Device* on) const override;

 private:
  struct Named {
    StoredView view;
    std::size_t stored = 0;  // index into stored_
    bool renamed = false;    // by a view, from what the file calls it
    bool read = false;
    std::string same_as;  // the name whose elements these are
    std::shared_ptr<Weight> weight;
    Tensor tensor;
  };
  struct Stored {
    std::string name;     // as in the file
    bool unused = false;  // the family lists it
  };
  using Names = std::map<std::string, Named, std::less<>>;

  /// `name`: as in the file, or another that the file gives the tensor.
  void add(const CheckpointEntry& entry, const std::string& name, const CheckpointOptions& options);
  void add_shared_names(const std::vector<CheckpointEntry>& entries,
                        const CheckpointOptions& options);
  void tie(const std::vector<std::string>& names);
  void share(const std::string& name, const std::string& with);
  void settle(Named& known, Named again);
  /// `path`.weight, or `path` itself.
  Names::const_iterator find_name(std::string_view path) const;
  /// What the name's tensor is stored under, where names share it.
  static const std::string& shared_name(Names::const_iterator found) {
    return found->second.same_as.empty() ? found->first : found->second.same_as;
  }
  /// The file's one tensor takes the place of `shared`, under all of its names.
  void put(const std::string& shared, const std::shared_ptr<const TensorFile>& file);
  void put_rows(std::string_view path, const std::function<std::shared_ptr<const TensorFile>(
                                           const std::string& name, const StoredView& view)>& make);
  /// What most numbers and most elements are, and all bytes.
  void count_types();
  /// One of the views of the tensor that has this name in its file, with or without a prefix.
  const StoredView* part_of(std::string_view stored_name) const;
  Names::const_iterator require(Names::const_iterator found, std::string_view asked) const;

  std::shared_ptr<Context> context_;
  std::string folder_;
  std::vector<Stored> stored_;
  Names names_;
  DType main_dtype_ = DType::f32;
  const kernels::BlockFormat* main_blocks_ = nullptr;
  std::uint64_t stored_bytes_ = 0;
  bool changed_ = false;
  mutable std::mutex mutex_;  // over read, weight and tensor of the names
};

/// "bf16[2, 3]"
std::string described_sizes(const StoredView& view);

}  // namespace perilune
