// Encode, cross and decode of a T5 written against Net in C++: relative bias, attention without a
// cache, keys and values that another pass reads, rows of two batches.
#include <cmath>

#include "engine/weights/open_tensor_file.h"
#include "tests/catch.h"
#include "tests/engine/pass_support.h"
#include "tests/engine/store_support.h"

using namespace perilune;
using namespace perilune_test;

namespace {

struct SmallT5 {
  std::shared_ptr<Context> context = Context::make({});
  std::shared_ptr<Checkpoint> checkpoint;

  explicit SmallT5(const std::string& folder) : checkpoint(Checkpoint::open(context, folder, {})) {}

  Net root(const std::shared_ptr<Pass>& pass) const {
    auto state = std::make_shared<NetState>();
    state->pass = pass;
    state->checkpoint = checkpoint;
    state->pass->axis_sizes = {
        {"hidden", 48}, {"ffn", 96}, {"head", 4}, {"head_dim", 12}, {"vocab", 504}};
    return Net(state);
  }

  static Value heads(const Net& net, const Value& x, const std::string& path) {
    return net.linear(x, path, {"head", "head_dim"}, {});
  }
  static Value out(const Net& net, const Value& x, const std::string& path) {
    return net.linear(x, path, {"hidden"}, {{"head", "head_dim"}, false});
  }
  static Value feed_forward(const Net& net, const Value& x, const std::string& at) {
    const Value h = net.rms_norm(x, at + ".layer_norm", 1e-6);
    const std::string dense = at + ".DenseReluDense.";
    const Value gate = net.activation(net.linear(h, dense + "wi_0", {"ffn"}, {}), "gelu_new");
    const Value product = tensor_ops::multiply(gate, net.linear(h, dense + "wi_1", {"ffn"}, {}));
    return tensor_ops::add(x, net.linear(product, dense + "wo", {"hidden"}, {}));
  }
  static Net::AttentionOptions plain(const std::shared_ptr<const RelativeBias>& bias,
                                     kernels::Mask mask, const std::string& name) {
    Net::AttentionOptions options;
    options.scale = 1.0;
    options.bias = bias;
    options.mask = mask;
    options.name = name;
    return options;
  }

  Value encode(const std::shared_ptr<Pass>& pass) const {
    const Net net = root(pass);
    Value x = net.embedding(pass->input("ids"), "shared", {});
    const auto bias = net.relative_bias(
        "encoder.block.0.layer.0.SelfAttention.relative_attention_bias", 8, 20, true);
    for (int i = 0; i < 2; ++i) {
      const Net layer =
          net.scope("encoder.block." + std::to_string(i), "encoder.layers." + std::to_string(i));
      const Value h = layer.rms_norm(x, "layer.0.layer_norm", 1e-6);
      const std::string at = "layer.0.SelfAttention.";
      const KvHandle kv = layer.uncached(heads(layer, h, at + "k"), heads(layer, h, at + "v"), 0);
      const Value a = layer.attention(heads(layer, h, at + "q"), kv,
                                      plain(bias, kernels::Mask::none, "attention"));
      x = feed_forward(layer, tensor_ops::add(x, out(layer, a, at + "o")), "layer.1");
    }
    return net.rms_norm(x, "encoder.final_layer_norm", 1e-6);
  }

  void cross(const std::shared_ptr<Pass>& pass) const {
    const Net net = root(pass);
    const Value encoded = pass->input("encoded");
    for (int i = 0; i < 3; ++i) {
      const std::string path = "decoder.block." + std::to_string(i);
      const Net layer = net.scope(path, "decoder.layers." + std::to_string(i));
      const std::string at = "layer.1.EncDecAttention.";
      layer.cached(heads(layer, encoded, at + "k"), heads(layer, encoded, at + "v"), 0,
                   KvKind::cross);
    }
  }

  Value decode(const std::shared_ptr<Pass>& pass) const {
    const Net net = root(pass);
    Value x = net.embedding(pass->input("ids"), "shared", {});
    const auto bias = net.relative_bias(
        "decoder.block.0.layer.0.SelfAttention.relative_attention_bias", 8, 20, false);
    for (int i = 0; i < 3; ++i) {
      const Net layer =
          net.scope("decoder.block." + std::to_string(i), "decoder.layers." + std::to_string(i));
      Value h = layer.rms_norm(x, "layer.0.layer_norm", 1e-6);
      std::string at = "layer.0.SelfAttention.";
      const KvHandle own =
          layer.cached(heads(layer, h, at + "k"), heads(layer, h, at + "v"), 0, KvKind::self);
      Value a = layer.attention(heads(layer, h, at + "q"), own,
                                plain(bias, kernels::Mask::causal, "attention"));
      x = tensor_ops::add(x, out(layer, a, at + "o"));
      h = layer.rms_norm(x, "layer.1.layer_norm", 1e-6);
      at = "layer.1.EncDecAttention.";
      a = layer.attention(heads(layer, h, at + "q"), layer.cross(),
                          plain(nullptr, kernels::Mask::none, "cross_attention"));
      x = feed_forward(layer, tensor_ops::add(x, out(layer, a, at + "o")), "layer.2");
    }
    x = net.rms_norm(x, "decoder.final_layer_norm", 1e-6);
    return net.head(wanted_rows(pass, x), "lm_head", "vocab", {});
  }
};

std::vector<std::vector<std::int32_t>> rows_of(const Json& expected, const char* key) {
  std::vector<std::vector<std::int32_t>> rows;
  for (const Json& item : expected.get("forward").items()) {
    std::vector<std::int32_t> ids;
    for (const std::int64_t id : item.integers(key)) ids.push_back(static_cast<std::int32_t>(id));
    rows.push_back(std::move(ids));
  }
  return rows;
}

/// What a whole forward pass gave.
struct Answer {
  std::vector<float> encoded, logits;
};

class Run {
 public:
  Run(const SmallT5& model, std::vector<std::vector<std::int32_t>> source,
      std::vector<std::vector<std::int32_t>> target, std::size_t chunk)
      : model_(model), source_(std::move(source)), target_(std::move(target)), chunk_(chunk) {}

  Answer compiled() {
    const auto encode = std::make_shared<TracePass>(model_.context, "encode");
    encode->output("encoded", model_.encode(encode));
    const auto cross = std::make_shared<TracePass>(model_.context, "cross");
    cross->expect_input("encoded", DType::f32, "token", {{"hidden", 48, 0}});
    model_.cross(cross);
    const auto decode = std::make_shared<TracePass>(model_.context, "decode");
    decode->output("logits", model_.decode(decode));
    const auto cross_program = cross->finish("");
    const auto decode_program = decode->finish("seq2seq");
    make_caches(*cross_program, *decode_program);
    Answer answer;
    Execution encoder(Plan::make(model_.context, encode->finish(""), {}));
    encoder.bind(std::make_shared<PassBinding>(model_.context, batch_of(source_)));
    REQUIRE(encoder.run());
    const Tensor encoded = encoder.output("encoded");
    answer.encoded = encoded.to_floats();
    Execution crossing(Plan::make(model_.context, cross_program, {}));
    crossing.bind(cross_binding(encoded, encoder.binding().batch().rows()));
    REQUIRE(crossing.run());
    commit_cross();
    Execution decoder(Plan::make(model_.context, decode_program, {}));
    for (std::size_t at = 0; at < longest(); at += chunk_) {
      decoder.bind(decode_binding(at));
      REQUIRE(decoder.run());
      append(answer.logits, decoder.output("logits").to_floats());
    }
    return answer;
  }

  Answer eager(const CacheLayout& layout) {
    make_caches(layout);
    Answer answer;
    const auto pass_of = [](std::shared_ptr<PassBinding> binding) {
      return std::make_shared<EagerPass>(std::move(binding), EagerOptions{});
    };
    const auto batch = batch_of(source_);
    const Tensor encoded =
        model_.encode(pass_of(std::make_shared<PassBinding>(model_.context, batch))).tensor;
    answer.encoded = encoded.to_floats();
    model_.cross(pass_of(cross_binding(encoded, batch->rows())));
    commit_cross();
    append(answer.logits, model_.decode(pass_of(decode_binding(0))).tensor.to_floats());
    return answer;
  }

  const CacheLayout& layout() const { return cache_->layout(); }

 private:
  using Rows = std::vector<std::vector<std::int32_t>>;

  std::shared_ptr<const Batch> batch_of(const Rows& rows) const {
    return Batch::make(model_.context, rows);
  }
  static void append(std::vector<float>& all, const std::vector<float>& more) {
    all.insert(all.end(), more.begin(), more.end());
  }
  std::size_t longest() const {
    std::size_t most = 0;
    for (const auto& row : target_) most = std::max(most, row.size());
    return most;
  }
  void make_caches(const Program& cross, const Program& decode) {
    std::vector<KvSlotSpec> slots = cross.kv_slots;
    slots.insert(slots.end(), decode.kv_slots.begin(), decode.kv_slots.end());
    make_caches(CacheLayout(slots, DType::f32, 32));
  }
  void make_caches(const CacheLayout& layout) {
    cache_ = std::make_shared<Cache>(model_.context, model_.context->cpu_device(), layout,
                                     std::int64_t{64} << 20);
    for (std::size_t r = 0; r < source_.size(); ++r) {
      sequences_.push_back(std::make_unique<SequenceCache>(cache_));
      REQUIRE(sequences_[r]->reserve_cross(static_cast<std::int64_t>(source_[r].size())));
    }
  }
  std::vector<SequenceCache*> caches() const {
    std::vector<SequenceCache*> list;
    for (const auto& sequence : sequences_) list.push_back(sequence.get());
    return list;
  }
  std::shared_ptr<PassBinding> cross_binding(const Tensor& encoded, const RaggedRows& rows) {
    auto binding = std::make_shared<PassBinding>(model_.context, batch_of(source_));
    binding->set_input("encoded", encoded, rows);
    binding->set_caches(caches(), &cache_->layout());
    return binding;
  }
  void commit_cross() {
    for (std::size_t r = 0; r < source_.size(); ++r) {
      sequences_[r]->commit_cross(static_cast<std::int64_t>(source_[r].size()));
    }
  }
  std::shared_ptr<PassBinding> decode_binding(std::size_t at) {
    Rows step;
    std::vector<SequenceFacts> facts(target_.size());
    std::vector<std::int64_t> wanted, per_row;
    for (std::size_t r = 0; r < target_.size(); ++r) {
      const std::size_t end = std::min(target_[r].size(), at + chunk_);
      step.emplace_back(target_[r].begin() + static_cast<std::ptrdiff_t>(at),
                        target_[r].begin() + static_cast<std::ptrdiff_t>(end));
      const auto count = static_cast<std::int64_t>(step[r].size());
      facts[r].first_position = sequences_[r]->length();
      REQUIRE(sequences_[r]->reserve(count));
      sequences_[r]->commit(count);
      per_row.push_back(count);
      for (std::int64_t i = 0; i < count; ++i) {
        wanted.push_back(static_cast<std::int64_t>(wanted.size()));
      }
    }
    auto binding = std::make_shared<PassBinding>(model_.context, batch_of(step)->with_facts(facts));
    binding->set_caches(caches(), &cache_->layout());
    binding->set_wanted(wanted, per_row);
    return binding;
  }

  const SmallT5& model_;
  Rows source_, target_;
  std::size_t chunk_;
  std::shared_ptr<Cache> cache_;
  std::vector<std::unique_ptr<SequenceCache>> sequences_;
};

std::vector<float> stored(const SmallT5& model, const std::string& folder,
                          const std::string& name) {
  const auto file = open_tensor_file(folder + "/expected.safetensors");
  const StoredTensor* found = file->find(name);
  REQUIRE(found != nullptr);
  return read_tensor(model.context, *file, *found).to_floats();
}

void check_close(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double largest = 0, scale = 1;
  for (std::size_t i = 0; i < a.size(); ++i) {
    largest = std::max(largest, std::fabs(static_cast<double>(a[i]) - b[i]));
    scale = std::max(scale, std::fabs(static_cast<double>(b[i])));
  }
  CHECK(largest <= 1e-4 * scale);
}

}  // namespace

TEST_CASE("an encoder-decoder gives the reference's values, eager and compiled alike") {
  const std::string folder = golden_model("t5-gated-untied");
  const SmallT5 model(folder);
  const Json expected = read_json(folder + "/expected.json");
  const auto source = rows_of(expected, "ids"), target = rows_of(expected, "decoder_ids");
  Run run(model, source, target, 1000);
  const Answer answer = run.compiled();
  std::vector<float> logits;
  for (std::size_t r = 0; r < source.size(); ++r) {
    const auto row = stored(model, folder, "logits." + std::to_string(r));
    logits.insert(logits.end(), row.begin(), row.end());
  }
  check_close(answer.logits, logits);
  check_close({answer.encoded.begin(),
               answer.encoded.begin() + static_cast<std::ptrdiff_t>(source[0].size() * 48)},
              stored(model, folder, "encoder.0"));
  Run lines(model, source, target, 1000);
  const Answer eager = lines.eager(run.layout());
  CHECK(same_bits(eager.encoded, answer.encoded));
  CHECK(same_bits(eager.logits, answer.logits));
  // One row alone, its answer token by token.
  Run alone(model, {source[0]}, {target[0]}, 1);
  const std::vector<float> slow = alone.compiled().logits;
  CHECK(same_bits(slow, {answer.logits.begin(),
                         answer.logits.begin() + static_cast<std::ptrdiff_t>(slow.size())}));
}

TEST_CASE("attention without a cache gives the bits of attention with one") {
  const std::string folder = golden_model("llama-gqa");
  const SmallLlama model(folder);
  const std::vector<std::vector<std::int32_t>> rows{golden_rows(folder)[0], {1, 30, 31}};
  for (const bool cached : {true, false}) {
    static std::vector<float> first;
    const auto pass = std::make_shared<TracePass>(model.context, "test");
    auto state = std::make_shared<NetState>();
    state->pass = pass;
    state->checkpoint = model.checkpoint;
    state->pass->axis_sizes = model.axes;
    const Net net = Net(state).scope("layers.0", "layers.0");
    const Value x = Net(state).embedding(pass->input("ids"), "embed_tokens", {});
    const Value k = net.linear(x, "self_attn.k_proj", {"kv_head", "head_dim"}, {});
    const Value v = net.linear(x, "self_attn.v_proj", {"kv_head", "head_dim"}, {});
    const Value q = net.linear(x, "self_attn.q_proj", {"head", "head_dim"}, {});
    Net::AttentionOptions causal;
    causal.mask = kernels::Mask::causal;
    const KvHandle kv = cached ? net.cached(k, v, 0, KvKind::self) : net.uncached(k, v, 0);
    const Value a = net.attention(q, kv, causal);
    pass->output("a", a);
    pass->output("first", net.select(a, "first", {}));
    pass->output("mean", net.mean(tensor_ops::merge(a, {"head", "head_dim"}, "hidden")));
    const auto program = pass->finish("");
    PlanOptions options;
    options.cache_dtype = DType::bf16;
    Execution execution(Plan::make(model.context, program, options));
    std::unique_ptr<Sequences> sequences;
    auto binding = std::make_shared<PassBinding>(model.context, Batch::make(model.context, rows));
    if (cached) {
      sequences = std::make_unique<Sequences>(model, *program, rows.size(), DType::bf16);
      binding = sequences->bind(model, rows);
    }
    execution.bind(binding);
    REQUIRE(execution.run());
    const std::vector<float> values = execution.output("a").to_floats();
    if (cached) first = values;
    CHECK(same_bits(values, first));
    CHECK(execution.output("first").spec().text() == "f32[batch=2, head=6, head_dim=8]");
    CHECK(execution.output("mean").spec().text() == "f32[batch=2, hidden=48]");
    CHECK(execution.output("mean").shape().axis(0).identity == binding->batch().batch_identity());
    float mean = 0;
    const std::size_t start = rows[0].size() * 48;
    for (std::size_t i = 0; i < 3; ++i) mean += values[start + i * 48];
    CHECK(execution.output("mean").to_floats()[48] == Approx(mean / 3).margin(1e-6));
  }
}
