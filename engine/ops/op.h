// An op is one struct: a name, infer (shapes and dtypes in -> out, or an error) and run (calls the
// kernel table). The same op serves eager tensors in scripts and traced programs. Adding one: a
// struct in ops_*.h, its infer and run in ops_*.cpp, nothing else.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/ops/pass_binding.h"
#include "engine/tensor/tensor.h"
#include "engine/weights/weight.h"

namespace perilune {

/// The rows of every ragged axis of one run. A plan's tensors carry the program's own axis numbers
/// (below kFirstIdentity), so that they outlive one batch; those are looked up here, all other
/// identities in the binding.
class AxisRows {
 public:
  static constexpr AxisIdentity kFirstIdentity = kFirstBatchIdentity;

  explicit AxisRows(const PassBinding* binding = nullptr) : binding_(binding) {}
  /// Rows of the axis; throws Error(state) for one that was never bound.
  const RaggedRows& rows(AxisIdentity identity) const;
  /// Whether set() was called for it.
  bool has(AxisIdentity identity) const;
  void set(AxisIdentity identity, const RaggedRows& rows) { slot(identity) = rows; }
  /// The same, to be filled in place: memory of an earlier run is used again.
  RaggedRows& slot(AxisIdentity identity);
  /// Nothing is set any more.
  void restart(const PassBinding* binding);
  /// Symbolic axes get their sizes, and their real identities unless `keep_numbers`.
  Shape resolve(const Shape& shape, bool keep_numbers) const;

 private:
  struct Entry {
    AxisIdentity identity;
    bool set;
    RaggedRows rows;
  };
  const Entry* find(AxisIdentity identity) const;

  const PassBinding* binding_ = nullptr;
  std::vector<Entry> table_;
};

class Op;
class RunTables;
struct BoundCall;

/// What an op reads that no run changes, as one device takes it.
struct OpConstants {
  std::vector<kernels::PackedMatrix> weights;  // of Op::weights(), in their order
  std::vector<Tensor> tensors;                 // of Op::constants(), in their order
};
/// Packs and copies where that has not been done yet; the op keeps what is handed out alive.
OpConstants resolve_constants(const Op& op, Device& device, kernels::MathMode math);

/// A layer's keys and values that an op writes or reads.
struct KvUse {
  std::string_view path;  // of the slot
  KvKind kind = KvKind::self;
};

/// What an op gets to run. `outputs` are allocated as infer said (with real sizes);
/// `launch.scratch` holds scratch_bytes(). `binding` is null for tensors of scripts.
struct OpRun {
  Context& context;
  Device& device;
  kernels::Launch launch;
  std::span<const Tensor> inputs;
  std::span<Tensor> outputs;
  const PassBinding* binding = nullptr;
  kernels::MathMode math = kernels::MathMode::f32;
  DType cache_dtype = DType::f32;  // what keys and values are rounded to without a cache
  const AxisRows* axes = nullptr;
  RunTables* tables = nullptr;                  // never null for an op that runs
  const OpConstants* constants = nullptr;       // never null for an op that runs
  const KvSlot* slot = nullptr;                 // of Op::kv_use(); null: looked up by its path
  bool ids_checked = false;                     // Op::check_ids was called for input 0
  const kernels::KernelTable* table = nullptr;  // null: the device's

  /// The binding; throws Error(state) naming the op when there is none.
  const PassBinding& bound(std::string_view op) const;
  /// Rows of the ragged axis `axis` of a tensor; throws when it is not one.
  const RaggedRows& rows(std::string_view op, const Axis& axis) const;
  const kernels::KernelTable& kernels() const {
    return table != nullptr ? *table : device.kernels();
  }
};

/// Lets a CPU op run on these threads; null: on the context's.
void use_threads(kernels::Launch& launch, const Device& device,
                 const std::shared_ptr<ThreadPool>& threads);

class Op {
 public:
  virtual ~Op() = default;
  virtual std::string_view name() const = 0;
  /// Throws Error(shape | dtype | argument). Symbolic sizes pass through.
  virtual std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const = 0;
  /// What a device lacks to run the op on such inputs, in words; "" where it can.
  virtual std::string lacks(const kernels::KernelTable&, std::span<const TensorSpec>) const {
    return "";
  }
  virtual void run(OpRun& run) const = 0;
  /// Makes ready what run() would call, where later runs of the same sizes and buffers would call
  /// the same; else leaves `call` empty. Nothing is computed.
  virtual void bind_call(const OpRun& /*run*/, BoundCall& /*call*/) const {}
  /// Bytes of scratch for these inputs; asked when sizes are known.
  virtual std::size_t scratch_bytes(const OpRun&) const { return 0; }
  /// Whether scratch_bytes depends on more than the sizes of inputs and outputs (lengths of
  /// caches).
  virtual bool scratch_follows_binding() const { return false; }
  /// For ops whose output is a view of input 0: the view. Such ops are never run.
  virtual std::optional<Tensor> view(std::span<const Tensor>) const { return std::nullopt; }
  virtual bool is_view() const { return false; }
  /// Writes somewhere else than its outputs (a cache): never dropped or moved.
  virtual bool has_effect() const { return false; }
  /// Axes that this op makes (conv1d, patches, prepend, attention weights): the identities they
  /// have in infer's outputs, where their size is symbolic.
  virtual std::vector<AxisIdentity> made_axes() const { return {}; }
  /// The rows of made_axes() for a bound batch, in the same order; identity 0 for a plain size.
  /// Asked before outputs are sized; `inputs` are as traced.
  virtual std::vector<RaggedRows> bind_axes(std::span<const TensorSpec> /*inputs*/,
                                            const PassBinding&, const AxisRows&) const {
    return {};
  }
  /// Weights read once per run, in bytes of their packed form.
  virtual std::vector<std::shared_ptr<Weight>> weights() const { return {}; }
  /// Tensors that belong to the op (biases, weights of norms); undefined ones keep their place.
  virtual std::vector<Tensor> constants() const { return {}; }
  /// The slot of the cache that the op works on.
  virtual std::optional<KvUse> kv_use() const { return std::nullopt; }
  /// Whether input 0 holds ids that must lie in a range.
  virtual bool has_ids() const { return false; }
  /// Looks at ids that a pass was given, before they go to a device: contiguous, on the host;
  /// `rows` (null without) only for the message. Throws Error(argument).
  virtual void check_ids(const Tensor& /*ids*/, const RaggedRows* /*rows*/) const {}
  /// "linear self_attn.q_proj -> head, head_dim" for printed programs.
  virtual std::string describe() const { return std::string(name()); }
};

using OpPointer = std::shared_ptr<const Op>;

/// Throws Error(unsupported) that names op, device, place and remedy when the device lacks the op.
void expect_device(const Op& op, std::span<const TensorSpec> inputs, const Device& device,
                   const std::string& where);
/// For Op::lacks: an entry of the kernel table that is not there.
template <class Entry>
std::string lacking(Entry* entry, const char* kernel) {
  return entry != nullptr ? "" : std::string("it has no kernel \"") + kernel + "\"";
}

/// Hands out 64-byte aligned pieces of an op's scratch.
class ScratchCursor {
 public:
  /// From null it only counts: used() is what a run will need.
  explicit ScratchCursor(void* scratch)
      : begin_(reinterpret_cast<std::uintptr_t>(scratch)), next_(begin_) {}
  template <typename T>
  T* take(std::int64_t count) {
    T* piece = reinterpret_cast<T*>(next_);
    next_ += align(static_cast<std::size_t>(count) * sizeof(T));
    return piece;
  }
  void* rest() const { return reinterpret_cast<void*>(next_); }
  std::size_t used() const { return next_ - begin_; }
  static constexpr std::size_t align(std::size_t bytes) { return (bytes + 63) / 64 * 64; }

 private:
  std::uintptr_t begin_, next_;
};

/// Scratch that contiguous_input takes: 0 for a contiguous tensor.
std::size_t contiguous_scratch(const Tensor& tensor);
/// The tensor's elements row-major: its own memory, or a copy in scratch.
const void* contiguous_input(const OpRun& run, const Tensor& tensor, ScratchCursor& scratch);

/// Scratch that lend takes on the run's device.
std::size_t lend_scratch(const OpRun& run, std::size_t bytes);
/// Host bytes where the device's kernels can read them: themselves, or a copy in scratch.
const void* lend_bytes(const OpRun& run, const void* host, std::size_t bytes,
                       ScratchCursor& scratch);
template <typename T>
const T* lend(const OpRun& run, const std::vector<T>& values, ScratchCursor& scratch) {
  return static_cast<const T*>(lend_bytes(run, values.data(), values.size() * sizeof(T), scratch));
}
/// All elements of a contiguous tensor, or of scratch, as the host reads them.
template <typename T>
std::vector<T> host_copy(const OpRun& run, const void* device, std::int64_t count) {
  std::vector<T> values(static_cast<std::size_t>(count));
  run.device.copy_out(values.data(), device, values.size() * sizeof(T));
  return values;
}

/// A tensor as rows of `width` (the product of its last `trailing` axes) one stride apart; null
/// data pointer does not occur. False when the memory does not allow it.
struct RowView {
  std::int64_t rows = 0, width = 0, stride = 0;
};
std::optional<RowView> row_view(const Tensor& tensor, int trailing);

/// "x f32[token=7, hidden=768]" parts of messages: throws unless `inputs` has `count` entries.
void expect_inputs(std::string_view op, std::span<const TensorSpec> inputs, std::size_t count);
/// Throws Error(dtype) unless the operand is f32.
void expect_f32(std::string_view op, const char* operand, const TensorSpec& spec);
/// "(768 vs 1024)"; symbolic sizes print as "*".
std::string versus(std::int64_t a, std::int64_t b);

}  // namespace perilune
