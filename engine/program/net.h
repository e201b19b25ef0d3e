// The scope a family writes its passes with (API.md, Families: "What a pass calls"). Names weights
// by path, axes by name; every shape is checked on the family's own line.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/ops/attention.h"
#include "engine/ops/rope_frequencies.h"
#include "engine/program/net_state.h"

namespace perilune {

/// What a layer keeps and sees; made by cached, uncached and cross, read by attention.
struct KvHandle {
  Value order;  // cached: the write, as a value that orders ops; cross read: undefined
  Value k, v;   // uncached
  bool cached = false;
  KvKind kind = KvKind::self;
  std::string path;  // canonical scope of the slot
  std::int64_t window = 0;
  std::int64_t kv_heads = 0, head_dim = 0;
};

class Net {
 public:
  explicit Net(std::shared_ptr<NetState> state) : state_(std::move(state)) {}

  /// Nested scopes join both paths; `axes` override sizes below.
  Net scope(const std::string& path, const std::string& canonical,
            const std::map<std::string, std::int64_t>& axes = {}) const;
  const std::string& path() const { return path_; }
  const std::string& canonical() const { return canonical_; }
  NetState& state() const { return *state_; }
  /// "layers.3.mlp, llama.lua:41"
  std::string where(const std::string& module = "") const;

  Value mark(const std::string& name, const Value& value) const;  // name "": the scope itself
  bool has(const std::string& path) const;
  Value tensor(const std::string& path, const std::vector<std::string>& axes) const;

  struct EmbeddingOptions {
    std::int64_t offset = 0;
    double scale = 1.0;
    std::string axis = "hidden";
  };
  Value embedding(const Value& ids, const std::string& path, const EmbeddingOptions& options) const;
  Value positions(const Value& x) const;

  struct LinearOptions {
    std::vector<std::string> over;
    bool bias = false;
  };
  Value linear(const Value& x, const std::string& path, const std::vector<std::string>& axes,
               const LinearOptions& options) const;
  struct HeadOptions {
    std::optional<std::string> tied;
    bool bias = false;
    std::string bias_name;
    double scale = 1.0;
  };
  Value head(const Value& x, const std::string& path, const std::string& axis,
             const HeadOptions& options) const;

  Value rms_norm(const Value& x, const std::string& path, double epsilon, bool plus_one = false,
                 const std::vector<std::string>& over = {}) const;
  Value layer_norm(const Value& x, const std::string& path, double epsilon, bool bias = true) const;

  Value rope(const Value& x, const Value& positions,
             const std::shared_ptr<const RopeOptions>& options) const;

  KvHandle cached(const Value& k, const Value& v, std::int64_t window, KvKind kind) const;
  KvHandle uncached(const Value& k, const Value& v, std::int64_t window) const;
  KvHandle cross() const;

  struct AttentionOptions {
    kernels::Mask mask = kernels::Mask::none;
    std::optional<double> scale;
    double softcap = 0;
    std::shared_ptr<const RelativeBias> bias;
    std::string name = "attention";  // marks name.query, .key, .value, .weights
  };
  Value attention(const Value& q, const KvHandle& kv, const AttentionOptions& options) const;
  std::shared_ptr<const RelativeBias> relative_bias(const std::string& path, std::int64_t buckets,
                                                    std::int64_t max_distance,
                                                    bool bidirectional) const;

  /// By its published name; an unknown one throws.
  Value activation(const Value& x, const std::string& name) const;
  Value softcap(const Value& x, double cap) const;
  Value select(const Value& x, const std::string& which,
               const std::vector<std::int64_t>& eos) const;  // "first" | "last" | "eos"
  Value mean(const Value& x) const;

  // Ops that change how long rows are: each makes a new ragged axis.
  struct Conv1dOptions {
    std::int64_t stride = 1, padding = 0;
    bool bias = false;
  };
  /// x [frame, in], weight [out, in, width] -> [frame, axis].
  Value conv1d(const Value& x, const std::string& path, const std::string& axis,
               const Conv1dOptions& options) const;
  struct PatchOptions {
    std::int64_t size = 0;  // 0: the weight's
    bool bias = false;
  };
  /// pixels [batch, channel, height, width], weight [out, channel, size, size] -> [patch, axis].
  Value patches(const Value& pixels, const std::string& path, const std::string& axis,
                const PatchOptions& options) const;
  /// x [token, hidden] with the tensor `path` (or `path`.weight), one or more rows of x's size,
  /// before every row.
  Value prepend(const Value& x, const std::string& path) const;
  struct SinusoidOptions {
    std::string axis = "hidden";
    double max_period = 10000;
    bool interleaved = false, endpoint = true;
  };
  Value sinusoids(const Value& positions, const SinusoidOptions& options) const;

 private:
  std::int64_t axis_size(const std::string& op, const std::string& name) const;
  std::string full(const std::string& path) const;
  /// Windows times a convolution's weight, which has `weight_axes` axes.
  Value window_product(const char* op, const Value& windows, const std::string& path,
                       std::size_t weight_axes, const std::string& axis, bool bias) const;
  std::vector<Value> apply(const OpPointer& op, std::vector<Value> inputs,
                           const std::string& module = "") const;
  /// The product y of x with a module, with what adapters change of it.
  Value adapted(const Value& y, const Value& x, const std::string& path, int outputs, int over,
                double scale) const;

  std::shared_ptr<NetState> state_;
  std::string path_, canonical_;
  std::map<std::string, std::int64_t> scope_axes_;
};

/// x over the tokens whose logits are wanted: what bindings put before a head.
Value wanted_rows(const std::shared_ptr<Pass>& pass, const Value& x, const std::string& where = "");

/// The kernels' activation of a published name, or an Error(unsupported) listing those we know;
/// some of these are composed of other ops (composed_activations.h).
kernels::Activation activation_by_name(const std::string& name);

}  // namespace perilune
