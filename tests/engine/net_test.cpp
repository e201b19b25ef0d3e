// A family's pass, traced and run, against reference values; eager and compiled bits; messages.
#include "engine/program/net.h"

#include <cmath>

#include "engine/ops/attention.h"

#include "tests/catch.h"
#include "tests/engine/pass_support.h"
#include "tests/engine/store_support.h"

using namespace perilune;
using namespace perilune_test;

namespace {

std::string llama_folder() {
  return golden_model("llama-gqa");
}

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double largest = 0, scale = 1;
  for (std::size_t i = 0; i < a.size(); ++i) {
    largest = std::max(largest, std::fabs(static_cast<double>(a[i]) - b[i]));
    scale = std::max(scale, std::fabs(static_cast<double>(b[i])));
  }
  return largest / scale;
}

/// The values of an output that belong to the first row, whose hidden states are stored.
std::vector<float> first_row(const Execution& execution, const std::string& name,
                             std::size_t tokens) {
  const Tensor output = execution.output(name);
  return output.slice(0, 0, static_cast<std::int64_t>(tokens)).to_floats();
}

std::shared_ptr<EagerPass> eager_pass(const std::shared_ptr<PassBinding>& binding,
                                      std::set<std::string> keep = {}) {
  EagerOptions options;
  options.keep = std::move(keep);
  return std::make_shared<EagerPass>(binding, options);
}

}  // namespace

TEST_CASE("a compiled pass gives the reference's logits and hidden states") {
  const std::string folder = llama_folder();
  const SmallLlama model(folder);
  const auto rows = golden_rows(folder);
  const auto program = model.trace();
  PlanOptions options;
  options.outputs = {"embeddings", "layers.0", "norm"};
  const auto plan = Plan::make(model.context, program, options);
  Sequences sequences(model, *program, rows.size());
  Execution execution(plan);
  execution.bind(sequences.bind(model, rows));
  REQUIRE(execution.run());
  std::vector<float> logits;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const std::vector<float> row = golden_values(model, folder, "logits." + std::to_string(i));
    logits.insert(logits.end(), row.begin(), row.end());
  }
  CHECK(largest_difference(execution.output("logits").to_floats(), logits) < 1e-4);
  const std::pair<const char*, const char*> states[] = {
      {"embeddings", "hidden.0.0"}, {"layers.0", "hidden.0.1"}, {"norm", "hidden.0.3"}};
  for (const auto& [path, name] : states) {
    CHECK(largest_difference(first_row(execution, path, rows[0].size()),
                             golden_values(model, folder, name)) < 1e-4);
  }
}

TEST_CASE("eager and compiled bits are equal") {
  const std::string folder = llama_folder();
  const SmallLlama model(folder);
  const auto rows = golden_rows(folder);
  const auto program = model.trace();
  const std::string weights = "layers.1.attention.weights", query = "layers.1.attention.query";
  PlanOptions options;
  options.outputs = {weights, query};
  Sequences compiled(model, *program, rows.size()), eager(model, *program, rows.size());
  Execution execution(Plan::make(model.context, program, options));
  execution.bind(compiled.bind(model, rows));
  REQUIRE(execution.run());
  const auto pass = eager_pass(eager.bind(model, rows), {weights, query});
  const Value logits = model.write(pass);
  CHECK(same_bits(execution.output("logits").to_floats(), logits.tensor.to_floats()));
  REQUIRE(pass->kept().size() == 2);
  for (const auto& [path, tensor] : pass->kept()) {
    CHECK(execution.output(path).shape().names() == tensor.shape().names());
    CHECK(same_bits(execution.output(path).to_floats(), tensor.to_floats()));
  }
}

TEST_CASE(
    "a pass holds the positions that it has turned by: others cannot come to lie in their place") {
  const SmallLlama model(llama_folder());
  Sequences sequences(model, *model.trace(), 1);
  const auto pass = eager_pass(sequences.bind(model, {{1, 30, 31}}));
  const auto state = std::make_shared<NetState>();
  state->pass = pass;
  state->checkpoint = model.checkpoint;
  state->pass->axis_sizes = model.axes;
  const Net net(state);
  const Value x = net.linear(net.embedding(pass->input("ids"), "embed_tokens", {}),
                             "layers.0.self_attn.k_proj", {"kv_head", "head_dim"}, {});
  const auto turned = [&](double by) {
    const Value positions = tensor_ops::scalar(kernels::Binary::add, pass->input("positions"), by);
    net.rope(x, positions, model.rope);
    return std::weak_ptr<Storage>(positions.tensor.storage());
  };
  const auto first = turned(7), second = turned(0);
  CHECK_FALSE(first.expired());
  CHECK_FALSE(second.expired());
  CHECK(state->rope_tables.size() == 2);
  CHECK_FALSE(same_bits(state->rope_tables[0].sine.tensor.to_floats(),
                        state->rope_tables[1].sine.tensor.to_floats()));
}

TEST_CASE("attention weights are rows of probabilities, zero beyond a row's own keys") {
  const std::string folder = llama_folder();
  const SmallLlama model(folder);
  const std::vector<std::vector<std::int32_t>> rows{{1, 30, 31}, {1, 40, 41, 42, 43}};
  const auto program = model.trace();
  PlanOptions options;
  options.outputs = {"layers.2.attention.weights"};
  Sequences sequences(model, *program, rows.size());
  Execution execution(Plan::make(model.context, program, options));
  execution.bind(sequences.bind(model, rows));
  REQUIRE(execution.run());
  const Tensor weights = execution.output("layers.2.attention.weights");
  REQUIRE(weights.shape().text() == "[token=8, head=6, key=5]");
  const std::vector<float> values = weights.to_floats();
  for (std::size_t token = 0; token < 8; ++token) {
    const std::size_t visible = token < 3 ? token + 1 : token - 2;
    for (std::size_t head = 0; head < 6; ++head) {
      float sum = 0;
      for (std::size_t key = 0; key < 5; ++key) {
        const float weight = values[(token * 6 + head) * 5 + key];
        sum += weight;
        if (key >= visible) CHECK(weight == 0.0f);
      }
      CHECK(sum == Approx(1.0f).epsilon(1e-5));
    }
  }
}

TEST_CASE("a hook sees and replaces what a pass marks") {
  const std::string folder = llama_folder();
  const SmallLlama model(folder);
  const std::vector<std::vector<std::int32_t>> rows{{1, 30, 31}};
  Sequences sequences(model, *model.trace(), 1);
  std::vector<std::string> seen;
  EagerOptions options;
  options.hook = [&](const std::string& path, const Tensor& value) {
    seen.push_back(path);
    if (path != "norm") return Tensor();
    return Tensor::zeros(value.context(), value.dtype(), value.shape());
  };
  const auto pass = std::make_shared<EagerPass>(sequences.bind(model, rows), options);
  for (const float logit : model.write(pass).tensor.to_floats()) REQUIRE(logit == 0.0f);
  CHECK(seen.front() == "embeddings");
  CHECK(seen.back() == "logits");
}

TEST_CASE("shape mistakes in a pass name operation, sizes, layer and line") {
  const std::string folder = llama_folder();
  const SmallLlama model(folder);
  const auto pass = std::make_shared<TracePass>(model.context, "decode");
  auto state = std::make_shared<NetState>();
  state->pass = pass;
  state->checkpoint = model.checkpoint;
  state->pass->axis_sizes = model.axes;
  state->pass->axis_sizes["wide"] = 112;
  state->pass->axis_sizes["two"] = 2;
  state->pass->axis_sizes["odd_head"] = 5;
  pass->script_place = "gpt2.lua:41";
  const Net net = Net(state).scope("layers.1", "layers.1");
  const Value x = Net(state).embedding(pass->input("ids"), "embed_tokens", {});

  const Caught inner = caught([&] { net.linear(x, "mlp.down_proj", {"hidden"}, {}); });
  CHECK(inner.message ==
        "linear: inner sizes differ: x f32[token=*, hidden=48], weight f32[48, 112] (48 vs 112); "
        "in layers.1.mlp.down_proj, gpt2.lua:41");
  const Caught outputs = caught([&] {
    net.linear(x, "self_attn.q_proj", {"odd_head", "head_dim"}, {});
  });
  CHECK(
      outputs.has("linear: output axes do not fit the weight: axes [odd_head=5, head_dim=8], "
                  "weight f32[48, 48] (40 vs 48); in layers.1.self_attn.q_proj, gpt2.lua:41"));
  const Value q = net.linear(x, "self_attn.q_proj", {"head", "head_dim"}, {});
  const Value k = net.linear(x, "self_attn.k_proj", {"kv_head", "head_dim"}, {});
  const Value other = net.linear(x, "self_attn.k_proj", {"head_dim", "two"}, {});
  const Caught head_dim = caught([&] { net.attention(q, net.uncached(other, other, 0), {}); });
  CHECK(
      head_dim.has("attention: head_dim differs: q f32[token=*, head=6, head_dim=8], "
                   "k f32[token=*, head_dim=8, two=2] (8 vs 2); in layers.1.attention, "
                   "gpt2.lua:41"));
  const Caught unknown_axis = caught([&] { net.linear(x, "mlp.up_proj", {"fnn"}, {}); });
  CHECK(unknown_axis.has("linear: axis \"fnn\" has no size"));
  CHECK(unknown_axis.has("did you mean \"ffn\"?"));
  const Caught activation = caught([&] { net.activation(x, "sillu"); });
  CHECK(activation.has("activation: \"sillu\" is not known; in layers.1, gpt2.lua:41; known are "));
  const Net second = Net(state).scope("layers.2", "layers.2");
  second.cached(k, k, 0, KvKind::self);
  const Caught twice = caught([&] { second.cached(k, k, 0, KvKind::self); });
  CHECK(twice.has("cached: \"layers.2\" keeps keys and values twice in this pass"));
  const Caught ragged = caught([&] { tensor_ops::reduce(kernels::Reduce::mean, x, {"token"}); });
  CHECK(ragged.has("mean: axis \"token\" holds the rows of a whole batch"));
}

TEST_CASE("an unknown path to trace is an error with the nearest one") {
  const std::string folder = llama_folder();
  const SmallLlama model(folder);
  PlanOptions options;
  options.outputs = {"layers.1.atention"};
  const Caught unknown = caught([&] { Plan::make(model.context, model.trace(), options); });
  CHECK(unknown.has("trace: there is no \"layers.1.atention\""));
  CHECK(unknown.has("did you mean \"layers.1.attention\"?"));
}

TEST_CASE("an id outside the table is an error with row, token and sizes") {
  const std::string folder = llama_folder();
  const SmallLlama model(folder);
  const auto program = model.trace();
  Execution execution(Plan::make(model.context, program, {}));
  Sequences sequences(model, *program, 2);
  const auto binding = sequences.bind(model, {{1, 2}, {1, 384, 3}});
  const Caught outside = caught([&] { execution.bind(binding); });  // before anything runs
  CHECK(
      outside.has("embedding: id 384 (row 2, token 2) is outside the table: "
                  "embed_tokens f32[384, 48] (ids 0 to 383)"));
}

TEST_CASE("the relative bucket of T5 follows the published table") {
  RelativeBias bias;
  bias.buckets = 32;
  bias.max_distance = 128;
  bias.bidirectional = true;
  CHECK(relative_bucket(bias, 0) == 0);
  CHECK(relative_bucket(bias, -7) == 7);
  CHECK(relative_bucket(bias, 7) == 23);
  CHECK(relative_bucket(bias, -8) == 8);
  CHECK(relative_bucket(bias, -16) == 10);
  CHECK(relative_bucket(bias, -1000) == 15);
  CHECK(relative_bucket(bias, 1000) == 31);
  bias.bidirectional = false;
  CHECK(relative_bucket(bias, 5) == 0);
  CHECK(relative_bucket(bias, -15) == 15);
  CHECK(relative_bucket(bias, -16) == 16);
  CHECK(relative_bucket(bias, -128) == 31);
}
