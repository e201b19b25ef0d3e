// One run of passes: it fits or changes nothing, is committed or leaves no trace, asks the encoder
// what a source becomes in length, and gives answers the axes that are documented.
#include "engine/plan/pass_run.h"

#include <cstring>

#include "engine/program/value_math.h"
#include "tests/catch.h"
#include "tests/engine/pass_support.h"

using namespace perilune;
using namespace perilune_test;

namespace {

using Rows = std::vector<std::vector<std::int32_t>>;

/// x [token, ...] -> every second token of each row, as a convolution with stride 2 has it.
class HalveOp final : public Op {
 public:
  explicit HalveOp(AxisIdentity axis) : axis_(axis) {}
  std::string_view name() const override { return "halve"; }
  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override {
    Axis axis = inputs[0].shape.axis(0);
    axis.size = kSymbolicSize;
    axis.identity = axis_;
    return {{inputs[0].dtype, inputs[0].shape.with_axis(0, axis), false}};
  }
  std::vector<AxisIdentity> made_axes() const override { return {axis_}; }
  std::vector<RaggedRows> bind_axes(std::span<const TensorSpec> inputs, const PassBinding& binding,
                                    const AxisRows& axes) const override {
    const RaggedRows& rows = axes.rows(inputs[0].shape.axis(0).identity);
    std::vector<std::int64_t> lengths;
    for (std::int64_t r = 0; r < rows.rows(); ++r) lengths.push_back((rows.length(r) + 1) / 2);
    return {RaggedRows::from_lengths("token", binding.context()->new_identity(), lengths)};
  }
  void run(OpRun& run) const override {
    const RaggedRows& from = run.rows("halve", run.inputs[0].shape().axis(0));
    const std::size_t row = run.inputs[0].bytes() / static_cast<std::size_t>(from.total());
    auto* to = run.outputs[0].as<unsigned char>();
    for (std::int64_t r = 0; r < from.rows(); ++r) {
      for (std::int64_t i = 0; i < from.length(r); i += 2, to += row) {
        const auto at = static_cast<std::size_t>(from.starts[static_cast<std::size_t>(r)] + i);
        std::memcpy(to, run.inputs[0].as<unsigned char>() + at * row, row);
      }
    }
  }

 private:
  AxisIdentity axis_;
};

/// A model whose decoder reads half as many positions as its source has tokens.
struct Halving {
  SmallLlama model;
  std::shared_ptr<const Plan> encode, cross, decode;
  std::shared_ptr<Cache> cache;
  ExecutionStore store;

  explicit Halving(const std::string& folder) : model(folder) {
    const auto encoder = std::make_shared<TracePass>(model.context, "encode");
    encoder->output("encoded", write_encode(encoder));
    encode = Plan::make(model.context, encoder->finish(""), {});
    const auto crossing = std::make_shared<TracePass>(model.context, "cross");
    crossing->expect_input("encoded", DType::f32, "token", {{"hidden", 48, 0}});
    write_cross(crossing);
    cross = Plan::make(model.context, crossing->finish(""), {});
    const auto decoder = std::make_shared<TracePass>(model.context, "decode");
    decoder->output("logits", write_decode(decoder));
    decode = Plan::make(model.context, decoder->finish("seq2seq"), {});
    cache = std::make_shared<Cache>(model.context, model.context->cpu_device(),
                                    CacheLayout(cross->program().kv_slots, DType::f32, 32),
                                    std::int64_t{1} << 20);
  }

  Net net(const std::shared_ptr<Pass>& pass) const {
    auto state = std::make_shared<NetState>();
    state->pass = pass;
    state->checkpoint = model.checkpoint;
    pass->axis_sizes = model.axes;
    return Net(state);
  }
  Value write_encode(const std::shared_ptr<Pass>& pass) const {
    const Value x = net(pass).embedding(pass->input("ids"), "embed_tokens", {});
    return pass->apply(std::make_shared<HalveOp>(pass->new_axis("token")), {x}, "").front();
  }
  void write_cross(const std::shared_ptr<Pass>& pass) const {
    const Net layer = net(pass).scope("layers.0", "layers.0");
    const Value x = pass->input("encoded");
    (void)layer.cached(layer.linear(x, "self_attn.k_proj", {"kv_head", "head_dim"}, {}),
                       layer.linear(x, "self_attn.v_proj", {"kv_head", "head_dim"}, {}), 0,
                       KvKind::cross);
  }
  Value write_decode(const std::shared_ptr<Pass>& pass) const {
    const Net root = net(pass), layer = root.scope("layers.0", "layers.0");
    const Value x = root.embedding(pass->input("ids"), "embed_tokens", {});
    const Value q = layer.linear(x, "self_attn.q_proj", {"head", "head_dim"}, {});
    const Value a = layer.attention(q, layer.cross(), {});
    const Value y = layer.linear(a, "self_attn.o_proj", {"hidden"}, {{"head", "head_dim"}, false});
    return root.head(wanted_rows(pass, y), "lm_head", "vocab", {});
  }

  PassWork work(const Rows& source, const Rows& rows,
                std::vector<std::unique_ptr<SequenceCache>>& caches) const {
    PassWork work{
        encode, cross, decode, Batch::make(model.context, source), Batch::make(model.context, rows),
        {}};
    for (std::size_t r = 0; r < rows.size(); ++r) {
      caches.push_back(std::make_unique<SequenceCache>(cache));
      work.caches.push_back(caches.back().get());
    }
    return work;
  }
};

std::vector<float> logits_of(const NamedTensors& results) {
  for (const auto& [name, tensor] : results) {
    if (name == "logits") return tensor.to_floats();
  }
  return {};
}

PassWork llama_work(const SmallLlama& model, const std::shared_ptr<const Plan>& plan,
                    const Sequences& sequences, const Rows& rows,
                    RowSelection selection = RowSelection::automatic) {
  PassWork work;
  work.main = plan;
  work.batch = Batch::make(model.context, rows)->with_rows(selection);
  for (const auto& row : sequences.rows) work.caches.push_back(row.get());
  return work;
}

}  // namespace

TEST_CASE("what does not fit is told before, and leaves nothing reserved") {
  const SmallLlama model(golden_model("llama-gqa"));
  const auto plan = model.plan();
  const CacheLayout layout(plan->program().kv_slots, DType::f32, 64);
  const auto cache = std::make_shared<Cache>(model.context, model.context->cpu_device(), layout,
                                             layout.bytes_for(64));  // one page
  SequenceCache first(cache), second(cache);
  ExecutionStore store;
  PassWork work;
  work.main = plan;
  work.batch = Batch::make(model.context, {{1, 5}, {9, 2, 3}});
  work.caches = {&first, &second};
  PassRun run(store, work);
  const PassFit fit = run.fits();
  CHECK(!fit.fits);
  CHECK(fit.row == 1);
  CHECK(fit.positions == 3);
  CHECK(cache->used_bytes() == 0);
  CHECK(!run.reserve());
  CHECK(cache->used_bytes() == 0);
  CHECK(!first.in_pass());
  try {
    run.reserve_or_throw("forward");
    FAIL("two rows in one page");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::memory);
    CHECK(std::string(error.what()).find("row 2 needs room for 3 more positions") !=
          std::string::npos);
  }
  CHECK_THROWS_AS(run.run(), Error);  // nothing was reserved
}

TEST_CASE("a run counts when it is committed, and leaves no trace before") {
  const SmallLlama model(golden_model("llama-gqa"));
  const auto plan = model.plan();
  Sequences sequences(model, plan->program(), 2);
  ExecutionStore store;
  const Rows rows{{1, 5, 9}, {7}};
  std::vector<float> before;
  {
    PassRun dropped(store, llama_work(model, plan, sequences, rows));
    dropped.reserve_or_throw("forward");
    CHECK(sequences.cache->used_bytes() > 0);
    REQUIRE(dropped.run());
    before = logits_of(dropped.read_back());
    CHECK(sequences.rows[0]->length() == 0);
  }
  CHECK(sequences.cache->used_bytes() == 0);
  PassRun run(store, llama_work(model, plan, sequences, rows));
  CHECK(run.fits().fits);
  run.reserve_or_throw("forward");
  while (!run.run(0)) CHECK(!run.done());  // an op a call
  CHECK(same_bits(logits_of(run.read_back()), before));
  run.commit();
  run.rollback();
  CHECK(sequences.rows[0]->length() == 3);
  CHECK(sequences.rows[1]->length() == 1);
  // The next rows go on where these end.
  PassRun more(store, llama_work(model, plan, sequences, {{2}, {3}}));
  CHECK(more.batch().facts()[0].first_position == 3);
}

TEST_CASE("answers have the axes that were asked for") {
  const SmallLlama model(golden_model("llama-gqa"));
  const auto plan = model.plan();
  const Rows rows{{1, 5, 9}, {7}};
  std::vector<float> all;
  for (const RowSelection selection : {RowSelection::all, RowSelection::last}) {
    Sequences sequences(model, plan->program(), 2);
    ExecutionStore store;
    PassRun run(store, llama_work(model, plan, sequences, rows, selection));
    run.reserve_or_throw("forward");
    REQUIRE(run.run());
    const Tensor logits = run.read_back()[0].second;
    const std::vector<float> values = logits.to_floats();
    const Axis& axis = logits.shape().axis(0);
    if (selection == RowSelection::all) {
      CHECK(axis.name == "token");
      CHECK(axis.identity == run.batch().rows().identity);
      all = values;
    } else {
      CHECK(axis.name == "batch");
      CHECK(axis.identity == run.batch().batch_identity());
      REQUIRE(values.size() == 2 * 384);
      CHECK(same_bits({values.begin(), values.begin() + 384},
                      {all.begin() + 2 * 384, all.begin() + 3 * 384}));
    }
  }
}

TEST_CASE("a program says for which tokens logits are computed, a batch may say otherwise") {
  const auto context = Context::make({.threads = 1});
  Program program;
  const auto batch = Batch::make(context, {{1, 2, 3}});
  using Offsets = std::vector<std::int64_t>;
  CHECK(wanted_offsets(*batch, 0, program) == Offsets{0, 1, 2});
  program.default_rows = RowSelection::last;
  CHECK(wanted_offsets(*batch, 0, program) == Offsets{2});
  CHECK(wanted_offsets(*batch->with_rows(RowSelection::all), 0, program) == Offsets{0, 1, 2});
  CHECK(wanted_offsets(*batch->with_rows(RowSelection::listed, {{0, 1}}), 0, program) ==
        Offsets{0, 1});
}

TEST_CASE("what a source becomes in length is asked of the encoder") {
  Halving halving(golden_model("llama-gqa"));
  const Rows source{{5, 6, 7, 8, 9}, {3, 4}}, rows{{1, 2}, {30}};
  const RaggedRows encoded =
      output_rows(*halving.encode, Batch::make(halving.model.context, source));
  CHECK(encoded.length(0) == 3);
  CHECK(encoded.length(1) == 1);
  std::vector<std::unique_ptr<SequenceCache>> caches;
  PassRun run(halving.store, halving.work(source, rows, caches));
  run.reserve_or_throw("forward");
  REQUIRE(run.run());
  const std::vector<float> logits = logits_of(run.read_back());
  CHECK(run.read_back_encoded()[0].second.shape().size(0) == 4);
  CHECK(caches[0]->cross_length() == 0);
  run.commit();
  CHECK(caches[0]->cross_length() == 3);
  CHECK(caches[1]->cross_length() == 1);
  // A row alone has the same bits; tokens that the encoder drops change none.
  std::vector<std::unique_ptr<SequenceCache>> one;
  PassRun alone(halving.store, halving.work({{5, 99, 7, 98, 9}}, {rows[0]}, one));
  alone.reserve_or_throw("forward");
  REQUIRE(alone.run());
  CHECK(same_bits(logits_of(alone.read_back()), {logits.begin(), logits.begin() + 2 * 384}));
  // Line by line as well.
  std::vector<std::unique_ptr<SequenceCache>> written;
  PassRun lines(halving.store, halving.work(source, rows, written));
  lines.reserve_or_throw("forward");
  std::vector<std::string> order;
  while (lines.next_pass()) {
    const auto pass = std::make_shared<EagerPass>(lines.pass_binding(), EagerOptions{});
    order.push_back(lines.pass_plan().program().entry);
    NamedTensors made;
    if (order.back() == "encode") made = {{"encoded", halving.write_encode(pass).tensor}};
    if (order.back() == "cross") halving.write_cross(pass);
    if (order.back() == "decode") made = {{"logits", halving.write_decode(pass).tensor}};
    lines.pass_done(std::move(made));
  }
  CHECK(order == std::vector<std::string>{"encode", "cross", "decode"});
  CHECK(same_bits(logits_of(lines.read_back()), logits));
}

TEST_CASE("a pass reads tokens and frames, each by its own rows") {
  const SmallLlama model(golden_model("llama-gqa"));
  const auto write = [&](const std::shared_ptr<Pass>& pass) {
    auto state = std::make_shared<NetState>();
    state->pass = pass;
    state->checkpoint = model.checkpoint;
    pass->axis_sizes = model.axes;
    pass->axis_sizes["mel"] = 48;
    const Net net(state);
    const Value tokens = net.mean(net.embedding(pass->input("ids"), "embed_tokens", {}));
    const Value frames =
        net.linear(pass->input("features"), "layers.0.self_attn.o_proj", {"hidden"}, {});
    return tensor_ops::add(tokens, net.mean(frames));
  };
  const auto trace = std::make_shared<TracePass>(model.context, "encode");
  trace->output("pooled", write(trace));
  PassWork work;
  work.main = Plan::make(model.context, trace->finish(""), {});
  std::vector<float> values(5 * 48);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 7) - 3.0f;
  const Tensor features = Tensor::from(model.context, values, Shape{{"frame", 5}, {"mel", 48}});
  work.batch =
      Batch::make(model.context, {{1, 5, 9}, {7}}, {{"features", features, {1, 4}, "frame"}});
  ExecutionStore store;
  PassRun run(store, work);
  REQUIRE(run.run());
  const Tensor pooled = run.read_back()[0].second;
  CHECK(pooled.shape().text() == "[batch=2, hidden=48]");
  PassRun lines(store, work);
  REQUIRE(lines.next_pass());
  const auto pass = std::make_shared<EagerPass>(lines.pass_binding(), EagerOptions{});
  lines.pass_done({{"pooled", write(pass).tensor}});
  CHECK(same_bits(lines.read_back()[0].second.to_floats(), pooled.to_floats()));
  // The second row alone.
  PassWork alone = work;
  alone.batch = work.batch->select({1});
  PassRun second(store, alone);
  REQUIRE(second.run());
  const std::vector<float> both = pooled.to_floats();
  CHECK(same_bits(second.read_back()[0].second.to_floats(), {both.begin() + 48, both.end()}));
  // A batch without frames says what is missing.
  PassWork without = work;
  without.batch = Batch::make(model.context, {{1}});
  PassRun missing(store, without);
  CHECK_THROWS_WITH(missing.run(), Catch::Matchers::Contains("\"features\", which was not given"));
}
