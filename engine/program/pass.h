// Where a pass's ops go: recorded into a program (TracePass), or run at once on real tensors
// (EagerPass). Net, the scope that families write with, works on either.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "engine/ops/run_tables.h"
#include "engine/program/device_map.h"
#include "engine/program/program.h"

namespace perilune {

class Pass;

/// A tensor while a pass is written down: symbolic (id >= 0, with its pass) or real.
struct Value {
  TensorSpec spec;
  Tensor tensor;               // real values
  int id = -1;                 // symbolic values
  std::shared_ptr<Pass> pass;  // set for values of a pass, also of an eager one

  bool symbolic() const { return id >= 0; }
  static Value of(Tensor tensor);
};

class Pass : public std::enable_shared_from_this<Pass> {
 public:
  virtual ~Pass() = default;
  virtual bool tracing() const = 0;
  /// Checks, then records or runs. `where` goes into errors and into the program; `module` is what
  /// the op belongs to by canonical path ("layers.3.self_attn.q_proj"), "" for what stands between
  /// modules: it chooses the device.
  virtual std::vector<Value> apply(const OpPointer& op, std::vector<Value> inputs,
                                   const std::string& where, const std::string& module) = 0;
  std::vector<Value> apply(const OpPointer& op, std::vector<Value> inputs,
                           const std::string& where) {
    return apply(op, std::move(inputs), where, "");
  }
  /// Names a value for tracing; an eager pass hands it to hooks, which may replace it.
  virtual Value mark(const std::string& path, Value value) = 0;
  /// Names a value that is computed only when asked for: `op` has one output, and its made_axes()
  /// come from new_axis() of this pass. What a hook has put in its place, else a value without a
  /// tensor: who made the mark lets it act.
  virtual Value mark_lazily(const std::string& path, const OpPointer& op, std::vector<Value> inputs,
                            const std::string& where) = 0;
  virtual Value input(
      const std::string& name) = 0;  // "ids", "positions", "type_ids", "encoded", ...
  /// A new ragged axis made by an op: its identity. "batch" and "wanted" are the batch's rows (one
  /// entry each) and its wanted token rows; asked again, they are the same axis.
  virtual AxisIdentity new_axis(const std::string& name) = 0;
  /// Declares keys and values kept by a layer; the same (path, kind) twice in one pass is an error.
  virtual void declare_kv(const KvSlotSpec& spec) = 0;
  virtual const std::shared_ptr<Context>& context() const = 0;
  /// Throws Error(state) for a value that this pass cannot read: another pass's, or one without
  /// values where they are needed.
  void expect_own(const Value& value, std::string_view op) const;
  /// Set by bindings before each call: where the script is ("llama.lua:41").
  std::string script_place;
  /// Sizes by axis name that the family declares: its c.axes, and "vocab", "class", ...
  std::map<std::string, std::int64_t> axis_sizes;
};

/// Records. finish() may be called once.
class TracePass final : public Pass {
 public:
  TracePass(std::shared_ptr<Context> context, std::string entry);
  bool tracing() const override { return true; }
  using Pass::apply;
  std::vector<Value> apply(const OpPointer&, std::vector<Value>, const std::string& where,
                           const std::string& module) override;
  Value mark(const std::string& path, Value value) override;
  Value mark_lazily(const std::string& path, const OpPointer& op, std::vector<Value> inputs,
                    const std::string& where) override;
  Value input(const std::string& name) override;
  AxisIdentity new_axis(const std::string& name) override;
  void declare_kv(const KvSlotSpec& spec) override;
  const std::shared_ptr<Context>& context() const override { return context_; }

  /// What the program computes logits for when nobody says.
  void set_default_rows(RowSelection rows);
  /// Declares what a pass before this one makes, by its name there: the sizes of the axes after its
  /// ragged one. Example: expect_input("encoded", DType::f32, "token", {{"hidden", 64}}).
  void expect_input(const std::string& name, DType dtype, const std::string& ragged_axis,
                    const std::vector<Axis>& axes);

  void output(const std::string& name, const Value& value);
  std::shared_ptr<const Program> finish(const std::string& head);

 private:
  int add_value(ProgramValue value);
  int as_id(const Value& value);
  Value as_value(int id);
  AxisIdentity add_axis(const std::string& name, const std::string& source);
  void expect_open(const std::string& what) const;

  std::shared_ptr<Context> context_;
  std::shared_ptr<Program> program_;
  std::map<std::string, int> inputs_;
  std::map<std::string, AxisIdentity> shared_axes_;  // "batch", "wanted"
  std::set<std::string> marked_;
};

/// A hook sees a marked value and may return another of the same shape and dtype.
using Hook = std::function<Tensor(const std::string& path, const Tensor& value)>;

struct EagerOptions {
  kernels::MathMode math = kernels::MathMode::f32;
  DType cache_dtype = DType::f32;
  std::shared_ptr<Device> device;       // of ops that `devices` does not name; null: the CPU
  std::vector<PlacedPath> devices;      // modules on devices of their own
  std::shared_ptr<ThreadPool> threads;  // null: the context's
  Hook hook;                            // null: none
  std::set<std::string> looked_at;      // lazy marks that the hook wants to see
  std::set<std::string> keep;  // marks to keep for kept(); lazy ones are computed only when here
};

/// Runs each op as it is written, with the kernels and bits of an unfused plan.
class EagerPass final : public Pass {
 public:
  EagerPass(std::shared_ptr<PassBinding> binding, EagerOptions options);
  bool tracing() const override { return false; }
  using Pass::apply;
  std::vector<Value> apply(const OpPointer&, std::vector<Value>, const std::string& where,
                           const std::string& module) override;
  Value mark(const std::string& path, Value value) override;
  Value mark_lazily(const std::string& path, const OpPointer& op, std::vector<Value> inputs,
                    const std::string& where) override;
  Value input(const std::string& name) override;
  AxisIdentity new_axis(const std::string& name) override;
  void declare_kv(const KvSlotSpec& spec) override;
  const std::shared_ptr<Context>& context() const override;
  const PassBinding& binding() const { return *binding_; }
  const std::vector<std::pair<std::string, Tensor>>& kept() const { return kept_; }

 private:
  std::vector<Tensor> run(const Op& op, const std::vector<Value>& inputs,
                          const std::string& module);
  Tensor hooked(const std::string& path, const Value& value) const;
  std::shared_ptr<Device> device_of(const Op& op, const std::vector<Value>& inputs,
                                    const std::string& module) const;

  std::shared_ptr<PassBinding> binding_;
  EagerOptions options_;
  AxisRows axes_;
  RunTables tables_;
  std::set<std::pair<std::string, KvKind>> declared_;
  std::vector<std::pair<std::string, Tensor>> kept_;
};

std::vector<TensorSpec> specs_of(const std::vector<Value>& values);

/// Checks, allocates and runs one op; sizes of symbolic output axes come from `axes`, and from the
/// op's own bind_axes.
struct OpSetting {
  const PassBinding* binding = nullptr;
  kernels::MathMode math = kernels::MathMode::f32;
  DType cache_dtype = DType::f32;
  AxisRows* axes = nullptr;
  RunTables* tables = nullptr;
  std::shared_ptr<ThreadPool> threads;  // null: the context's
};
std::vector<Tensor> execute_op(const std::shared_ptr<Context>& context, const Op& op,
                               const std::vector<TensorSpec>& specs,
                               const std::vector<Tensor>& inputs, const OpSetting& setting);

/// Runs or records an op on values of scripts: symbolic operands record into their pass, others run
/// at once on the CPU.
std::vector<Value> apply_op(const OpPointer& op, std::vector<Value> inputs,
                            const std::string& where = "");
/// The same for real tensors with one result.
Tensor run_op(const Op& op, std::vector<Tensor> inputs, const PassBinding* binding = nullptr);

}  // namespace perilune
