// A small Llama written against Net in C++, over the golden checkpoint llama-gqa: what families do
// in Lua, for tests of passes, plans and executions.
#pragma once

#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "engine/base/json.h"
#include "engine/ops/rows.h"
#include "engine/plan/plan.h"
#include "engine/program/net.h"
#include "engine/program/value_math.h"
#include "engine/weights/checkpoint.h"
#include "engine/weights/open_tensor_file.h"

namespace perilune_test {

using namespace perilune;

/// "tests/golden/NAME", from the project's root or a folder of its build. A model that is not there
/// is an error: a test that names it would prove nothing.
inline std::string golden_model(const std::string& name) {
  for (std::filesystem::path at = std::filesystem::current_path();; at = at.parent_path()) {
    const std::filesystem::path folder = at / "tests" / "golden" / name;
    if (std::filesystem::exists(folder / "model.safetensors")) return folder.string();
    if (at == at.parent_path()) throw std::runtime_error("tests/golden has no model " + name);
  }
}

struct SmallLlama {
  std::shared_ptr<Context> context;
  std::shared_ptr<Checkpoint> checkpoint;
  std::shared_ptr<const RopeOptions> rope;
  std::map<std::string, std::int64_t> axes{{"hidden", 48}, {"ffn", 112},    {"head", 6},
                                           {"kv_head", 2}, {"head_dim", 8}, {"vocab", 384}};
  std::int64_t layers = 3;

  explicit SmallLlama(const std::string& folder, int threads = 1) {
    ContextOptions options;
    options.threads = threads;
    context = Context::make(options);
    CheckpointOptions views;
    views.prefixes = {"model."};
    checkpoint = Checkpoint::open(context, folder, views);
    RopeOptions turned;
    turned.dims = 8;
    rope = std::make_shared<RopeOptions>(turned);
  }

  Value layer(const Net& net, const Value& before, const Value& positions) const {
    Value x = before;
    Value h = net.rms_norm(x, "input_layernorm", 1e-5);
    const std::vector<std::string> q_axes{"head", "head_dim"}, kv_axes{"kv_head", "head_dim"};
    const Value q = net.rope(net.linear(h, "self_attn.q_proj", q_axes, {}), positions, rope);
    const Value k = net.rope(net.linear(h, "self_attn.k_proj", kv_axes, {}), positions, rope);
    const Value v = net.linear(h, "self_attn.v_proj", kv_axes, {});
    Net::AttentionOptions causal;
    causal.mask = kernels::Mask::causal;
    const Value a = net.attention(q, net.cached(k, v, 0, KvKind::self), causal);
    const Value out = net.linear(a, "self_attn.o_proj", {"hidden"}, {{"head", "head_dim"}, false});
    x = tensor_ops::add(x, net.mark("attention", out));
    h = net.rms_norm(x, "post_attention_layernorm", 1e-5);
    const Value gate = net.activation(net.linear(h, "mlp.gate_proj", {"ffn"}, {}), "silu");
    const Value gated = tensor_ops::multiply(gate, net.linear(h, "mlp.up_proj", {"ffn"}, {}));
    const Value mlp = net.linear(gated, "mlp.down_proj", {"hidden"}, {});
    return net.mark("", tensor_ops::add(x, net.mark("mlp", mlp)));
  }

  /// The logits of wanted rows.
  Value write(const std::shared_ptr<Pass>& pass) const {
    auto state = std::make_shared<NetState>();
    state->pass = pass;
    state->checkpoint = checkpoint;
    state->pass->axis_sizes = axes;
    const Net net(state);
    Value x = net.mark("embeddings", net.embedding(pass->input("ids"), "embed_tokens", {}));
    const Value positions = pass->input("positions");
    for (std::int64_t i = 0; i < layers; ++i) {
      const std::string name = "layers." + std::to_string(i);
      x = layer(net.scope(name, name), x, positions);
    }
    x = net.mark("norm", net.rms_norm(x, "norm", 1e-5));
    return net.mark("logits", net.head(wanted_rows(pass, x), "lm_head", "vocab", {}));
  }

  std::shared_ptr<const Program> trace() const {
    const auto pass = std::make_shared<TracePass>(context, "decode");
    pass->output("logits", write(pass));
    return pass->finish("causal");
  }

  std::shared_ptr<const Plan> plan(PlanOptions options = {}) const {
    return Plan::make(context, trace(), std::move(options));
  }
};

/// Rows under way: caches that grow with each step.
struct Sequences {
  std::shared_ptr<Cache> cache;
  std::vector<std::unique_ptr<SequenceCache>> rows;

  Sequences(const SmallLlama& model, const Program& program, std::size_t count,
            DType dtype = DType::f32, std::int64_t page_tokens = 64,
            const std::shared_ptr<Device>& device = nullptr)
      : cache(std::make_shared<Cache>(
            model.context, device != nullptr ? device : model.context->cpu_device(),
            CacheLayout(program.kv_slots, dtype, page_tokens), std::int64_t{64} << 20)) {
    for (std::size_t i = 0; i < count; ++i) rows.push_back(std::make_unique<SequenceCache>(cache));
  }

  /// A binding for these rows' next tokens, room reserved, all rows wanted.
  std::shared_ptr<PassBinding> bind(const SmallLlama& model,
                                    const std::vector<std::vector<std::int32_t>>& ids) {
    std::vector<SequenceFacts> facts(ids.size());
    std::vector<std::vector<std::int64_t>> positions(ids.size());
    std::vector<SequenceCache*> caches;
    std::vector<std::int64_t> wanted, per_row;
    for (std::size_t r = 0; r < ids.size(); ++r) {
      facts[r].first_position = rows[r]->length();
      rows[r]->rollback();  // what a pass before left undone
      if (!rows[r]->reserve(static_cast<std::int64_t>(ids[r].size()))) throw 0;
      caches.push_back(rows[r].get());
      per_row.push_back(static_cast<std::int64_t>(ids[r].size()));
      for (std::size_t i = 0; i < ids[r].size(); ++i) {
        wanted.push_back(static_cast<std::int64_t>(wanted.size()));
        positions[r].push_back(rows[r]->length() + static_cast<std::int64_t>(i));
      }
    }
    const auto batch =
        Batch::make(model.context, ids)->with_facts(facts)->with_positions(positions);
    auto binding = std::make_shared<PassBinding>(model.context, batch);
    binding->set_caches(caches, &cache->layout());
    binding->set_wanted(wanted, per_row);
    return binding;
  }

  void commit(const std::vector<std::vector<std::int32_t>>& ids) {
    for (std::size_t r = 0; r < ids.size(); ++r) {
      rows[r]->commit(static_cast<std::int64_t>(ids[r].size()));
    }
  }
};

inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

/// The ids of a golden model's forward cases.
inline std::vector<std::vector<std::int32_t>> golden_rows(const std::string& folder) {
  std::vector<std::vector<std::int32_t>> rows;
  const Json expected = read_json(folder + "/expected.json");
  for (const Json& item : expected.get("forward").items()) {
    std::vector<std::int32_t> ids;
    for (const std::int64_t id : item.integers("ids")) ids.push_back(static_cast<std::int32_t>(id));
    rows.push_back(std::move(ids));
  }
  return rows;
}

inline std::vector<float> golden_values(const SmallLlama& model, const std::string& folder,
                                        const std::string& name) {
  const auto file = open_tensor_file(folder + "/expected.safetensors");
  return read_tensor(model.context, *file, *file->find(name)).to_floats();
}

}  // namespace perilune_test
