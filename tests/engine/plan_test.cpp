// Plans: fusions that change no bit, shared buffers, executions that stop and go on, batches that
// do not change an answer.
#include "engine/plan/plan.h"

#include "engine/plan/fusion.h"
#include "tests/catch.h"
#include "tests/engine/pass_support.h"
#include "tests/engine/store_support.h"

using namespace perilune;
using namespace perilune_test;

namespace {

using Rows = std::vector<std::vector<std::int32_t>>;

/// The logits of each row, run whole or in pieces of `chunk` tokens.
std::vector<std::vector<float>> logits_of(const SmallLlama& model,
                                          const std::shared_ptr<const Plan>& plan, const Rows& rows,
                                          std::size_t chunk = 1000) {
  Sequences sequences(model, plan->program(), rows.size(), plan->options().cache_dtype, 32,
                      plan->options().device);
  Execution execution(plan);
  std::vector<std::vector<float>> all(rows.size());
  for (std::size_t at = 0, more = 1; more != 0; at += chunk) {
    Rows step;
    std::vector<std::size_t> which;
    more = 0;
    for (std::size_t r = 0; r < rows.size(); ++r) {
      const std::size_t end = std::min(rows[r].size(), at + chunk);
      if (at >= end) throw std::logic_error("rows of one length only, when chunked");
      step.emplace_back(rows[r].begin() + static_cast<std::ptrdiff_t>(at),
                        rows[r].begin() + static_cast<std::ptrdiff_t>(end));
      if (end < rows[r].size()) more = 1;
    }
    execution.bind(sequences.bind(model, step));
    REQUIRE(execution.run());
    sequences.commit(step);
    const std::vector<float> logits = execution.output("logits").to_floats();
    std::size_t from = 0;
    for (std::size_t r = 0; r < rows.size(); ++r) {
      const std::size_t count = step[r].size() * 384;
      all[r].insert(all[r].end(), logits.begin() + static_cast<std::ptrdiff_t>(from),
                    logits.begin() + static_cast<std::ptrdiff_t>(from + count));
      from += count;
    }
  }
  return all;
}

std::size_t count_named(const Plan& plan, const std::string& text) {
  std::size_t count = 0;
  for (const PlanStep& step : plan.steps()) {
    count += step.op->describe().find(text) != std::string::npos ? 1 : 0;
  }
  return count;
}

/// A program over x f32 [token, hidden=48], written by `write`; its result is output "y".
template <typename Write>
PlanGraph graph_of(const SmallLlama& model, Write&& write, std::shared_ptr<const Program>* keep) {
  const auto pass = std::make_shared<TracePass>(model.context, "test");
  auto state = std::make_shared<NetState>();
  state->pass = pass;
  state->checkpoint = model.checkpoint;
  state->pass->axis_sizes = model.axes;
  const Net net(state);
  const Value x = net.embedding(pass->input("ids"), "embed_tokens", {});
  pass->output("y", write(net.scope("layers.0", "layers.0"), x));
  *keep = pass->finish("");
  PlanGraph graph;
  for (const ProgramValue& value : (*keep)->values) {
    PlanValue copy;
    copy.spec = value.spec;
    copy.input = value.input;
    graph.values.push_back(copy);
  }
  for (const ProgramNode& node : (*keep)->nodes) {
    graph.steps.push_back(
        {node.op, node.inputs, node.outputs, node.where, node.module, model.context->cpu_device()});
  }
  graph.asked.assign(graph.values.size(), false);
  graph.asked[static_cast<std::size_t>((*keep)->outputs[0].second)] = true;
  return graph;
}

std::string names_of(const PlanGraph& graph) {
  std::string names;
  for (const PlanStep& step : graph.steps) {
    names += (names.empty() ? "" : " ") + std::string(step.op->name());
  }
  return names;
}

std::string model_folder() {
  return golden_model("llama-gqa");
}

/// Notes how many threads it may use.
struct CountThreads final : Op {
  explicit CountThreads(int& seen) : seen_(seen) {}
  std::string_view name() const override { return "count_threads"; }
  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override {
    return {inputs[0]};
  }
  void run(OpRun& run) const override { seen_ = run.launch.parallel.threads; }

 private:
  int& seen_;
};

}  // namespace

TEST_CASE("a plan has threads of its own, whatever the context's are") {
  const auto context = Context::make({.threads = 2});
  int seen = 0;
  const auto pass = std::make_shared<TracePass>(context, "decode");
  pass->output(
      "out", pass->apply(std::make_shared<CountThreads>(seen), {pass->input("positions")}, "")[0]);
  const auto program = pass->finish("");
  const auto batch = Batch::make(context, Rows{{1, 2, 3}});
  const auto threads_of = [&](std::shared_ptr<ThreadPool> threads) {
    PlanOptions options;
    options.threads = std::move(threads);
    Execution execution(Plan::make(context, program, std::move(options)));
    execution.bind(std::make_shared<PassBinding>(context, batch));
    REQUIRE(execution.run());
    return seen;
  };
  CHECK(threads_of(nullptr) == 2);
  CHECK(threads_of(context->pool_of(1)) == 1);
  CHECK(threads_of(context->pool_of(3)) == 3);
  context->set_threads(1);
  CHECK(threads_of(nullptr) == 1);
  CHECK(threads_of(context->pool_of(3)) == 3);
}

TEST_CASE("fused plans give the bits of unfused ones, in every mode, on both kinds of device") {
  const std::string device = GENERATE("cpu", "emulator");
  const SmallLlama model(model_folder());
  const Rows rows = golden_rows(model_folder());
  for (const auto& [math, cache] : {std::pair{kernels::MathMode::f32, DType::f32},
                                    std::pair{kernels::MathMode::bf16, DType::bf16}}) {
    PlanOptions options;
    options.device = model.context->device(device);
    options.math = math;
    options.cache_dtype = cache;
    const auto fused = model.plan(options);
    options.fuse = false;
    const auto plain = model.plan(options);
    CHECK(fused->steps().size() < plain->steps().size());
    CHECK(count_named(*fused, "q_proj + layers.0.self_attn.k_proj + layers.0.self_attn.v_proj") ==
          1);
    const bool cpu = device == "cpu";  // the other's products do more beside
    CHECK(count_named(*fused, "gated silu") == (cpu ? 3 : 0));
    CHECK(count_named(*fused, "up_proj, gated") == (cpu ? 0 : 3));
    CHECK(count_named(*fused, "with rope") == 3);
    CHECK(count_named(*fused, "with rope of queries too") == (cpu ? 0 : 3));
    CHECK(count_named(*fused, "of a sum") == (cpu ? 6 : 0));
    CHECK(count_named(*fused, "proj, added") == (cpu ? 0 : 6));
    CHECK(count_named(*fused, "linear of rms_norm") == (cpu ? 0 : 5));
    const auto a = logits_of(model, fused, rows), b = logits_of(model, plain, rows);
    for (std::size_t r = 0; r < rows.size(); ++r) CHECK(same_bits(a[r], b[r]));
  }
}

TEST_CASE("each fusion does its one thing") {
  const SmallLlama model(model_folder());
  std::shared_ptr<const Program> program;
  PlanGraph graph = graph_of(
      model,
      [](const Net& net, const Value& x) {
        return net.activation(net.linear(x, "mlp.up_proj", {"ffn"}, {}), "gelu");
      },
      &program);
  fuse_activation(graph);
  CHECK(names_of(graph) == "embedding linear");
  CHECK(graph.steps[1].op->describe() == "linear layers.0.mlp.up_proj gelu");

  const auto product = [](const Net& net, const Value& x) {
    const Value gate = net.linear(x, "mlp.gate_proj", {"ffn"}, {});
    return tensor_ops::multiply(net.linear(x, "mlp.up_proj", {"ffn"}, {}),
                                net.activation(gate, "silu"));
  };
  graph = graph_of(model, product, &program);
  merge_linears(graph);
  CHECK(names_of(graph) == "embedding linear activation multiply");
  fuse_gated(graph);
  CHECK(names_of(graph) == "embedding linear gated");

  const auto norm_of_sum = [](const Net& net, const Value& x) {
    return net.rms_norm(tensor_ops::add(x, net.linear(x, "self_attn.o_proj", {"hidden"}, {})),
                        "input_layernorm", 1e-5);
  };
  graph = graph_of(model, norm_of_sum, &program);
  fuse_residual_norm(graph);
  CHECK(names_of(graph) == "embedding linear rms_norm");
  CHECK(graph.steps[2].outputs.size() == 2);

  graph = graph_of(
      model,
      [](const Net& net, const Value& x) {
        net.linear(x, "mlp.up_proj", {"ffn"}, {});  // nobody reads it
        return net.linear(x, "mlp.gate_proj", {"ffn"}, {});
      },
      &program);
  drop_dead_steps(graph);
  CHECK(names_of(graph) == "embedding linear");
}

TEST_CASE("what was asked for is not fused away") {
  const SmallLlama model(model_folder());
  const Rows rows = golden_rows(model_folder());
  const auto base = logits_of(model, model.plan(), rows);
  PlanOptions options;
  options.outputs = {"layers.0.attention.key", "layers.1.mlp", "layers.1"};
  const auto traced = model.plan(options);
  CHECK(count_named(*traced, "with rope") == 2);
  const auto same = logits_of(model, traced, rows);
  for (std::size_t r = 0; r < rows.size(); ++r) CHECK(same_bits(base[r], same[r]));
}

TEST_CASE("buffers are shared by values that do not live at once") {
  const SmallLlama model(model_folder());
  for (const bool fuse : {true, false}) {
    PlanOptions options;
    options.fuse = fuse;
    const auto plan = model.plan(options);
    const auto& values = plan->values();
    int stored = 0, buffers = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (values[i].buffer < 0) continue;
      ++stored;
      buffers = std::max(buffers, values[i].buffer + 1);
      for (std::size_t j = 0; j < i; ++j) {
        if (values[j].buffer != values[i].buffer) continue;
        const bool apart = values[j].last_step < values[i].first_step ||
                           values[i].last_step < values[j].first_step;
        CHECK(apart);
      }
    }
    CHECK(buffers < stored / 2);
    CHECK(plan->arena_bytes(200, 4) > plan->arena_bytes(100, 4));
  }
}

TEST_CASE("an execution stops between two ops and goes on to the same bits") {
  const SmallLlama model(model_folder());
  Rows rows = golden_rows(model_folder());
  for (auto& row : rows) row.resize(5);  // no op is long
  const auto plan = model.plan();
  const auto whole = logits_of(model, plan, rows);
  Sequences sequences(model, plan->program(), rows.size());
  Execution execution(plan);
  execution.bind(sequences.bind(model, rows));
  std::size_t calls = 0;
  CHECK_THROWS_AS(execution.output("logits"), Error);
  while (!execution.run(0.0)) ++calls;
  CHECK(calls + 1 == plan->steps().size());
  std::vector<float> expected;
  for (const auto& row : whole) expected.insert(expected.end(), row.begin(), row.end());
  CHECK(same_bits(execution.output("logits").to_floats(), expected));
}

TEST_CASE("a long op is cut inside where a deadline asks for it: the same bits") {
  Rows rows(3);
  for (std::size_t r = 0; r < rows.size(); ++r) {
    for (std::int32_t i = 0; i < 150 + 40 * static_cast<std::int32_t>(r); ++i) {
      rows[r].push_back((i * 7 + static_cast<std::int32_t>(r)) % 384);
    }
  }
  for (const int threads : {1, 3}) {
    const SmallLlama model(model_folder(), threads);
    const auto plan = model.plan();
    const auto run = [&](auto&& deadline_of) {
      Sequences sequences(model, plan->program(), rows.size());
      Execution execution(plan);
      execution.bind(sequences.bind(model, rows));
      std::size_t calls = 1;
      while (!execution.run(deadline_of(calls))) ++calls;
      return std::pair(execution.output("logits").to_floats(), calls);
    };
    const auto [whole, once] = run([](std::size_t) { return 1e300; });
    CHECK(once == 1);
    const auto [parts, calls] = run([](std::size_t) { return 0.0; });
    CHECK(calls > 2 * plan->steps().size());
    CHECK(same_bits(parts, whole));
    for (const std::size_t cuts : {30, 31, 32, 33}) {  // what is left of an op without a deadline
      const auto [rest, some] = run([&](std::size_t call) { return call < cuts ? 0.0 : 1e300; });
      CHECK(some == cuts);
      CHECK(same_bits(rest, whole));
    }
  }
}

TEST_CASE("alone, batched, in chunks, on more threads: the same bits") {
  const SmallLlama model(model_folder());
  Rows rows = golden_rows(model_folder());
  const auto plan = model.plan();
  const auto together = logits_of(model, plan, rows);
  for (std::size_t r = 0; r < rows.size(); ++r) {
    CHECK(same_bits(logits_of(model, plan, {rows[r]})[0], together[r]));
    for (const std::size_t chunk : {std::size_t{1}, std::size_t{5}, std::size_t{33}}) {
      CHECK(same_bits(logits_of(model, plan, {rows[r]}, chunk)[0], together[r]));
    }
  }
  const SmallLlama threaded(model_folder(), 3);
  const auto other = logits_of(threaded, threaded.plan(), rows);
  for (std::size_t r = 0; r < rows.size(); ++r) CHECK(same_bits(other[r], together[r]));
}

TEST_CASE("binding again for equal sizes allocates nothing") {
  const SmallLlama model(model_folder());
  const auto plan = model.plan();
  Sequences sequences(model, plan->program(), 1);
  Execution execution(plan);
  const void* place = nullptr;
  for (std::int32_t step = 0; step < 4; ++step) {
    const Rows rows{{1 + step}};
    execution.bind(sequences.bind(model, rows));
    REQUIRE(execution.run());
    sequences.commit(rows);
    const Tensor logits = execution.output("logits");
    CHECK(logits.shape().axis(0).identity == execution.binding().wanted_identity());
    if (place != nullptr) CHECK(place == logits.data());
    place = logits.data();
  }
}

TEST_CASE("a head with no wanted rows, and an interrupted pass") {
  const SmallLlama model(model_folder());
  const auto plan = model.plan();
  Sequences sequences(model, plan->program(), 1);
  Execution execution(plan);
  const auto binding = sequences.bind(model, {{1, 2, 3}});
  binding->set_wanted({}, {0});
  execution.bind(binding);
  REQUIRE(execution.run());
  CHECK(execution.output("logits").shape().text() == "[token=0, vocab=384]");
  execution.bind(sequences.bind(model, {{1, 2, 3}}));
  model.context->interrupt();
  const Caught stopped = caught([&] { execution.run(); });
  CHECK(stopped.code == ErrorCode::cancelled);
  model.context->clear_interrupt();
  CHECK(execution.run());
}

TEST_CASE("plans and programs print as tables of ops") {
  const SmallLlama model(model_folder());
  const auto plan = model.plan();
  CHECK(plan->program().text().find("embedding embed_tokens (ids) -> ") != std::string::npos);
  CHECK(plan->text().find("attention layers.2 causal") != std::string::npos);
  CHECK(plan->weight_bytes() > 48 * 384 * 4 * 2);
  std::size_t last = 0, total = 0;
  plan->pack([&](std::size_t done, std::size_t all) { last = done, total = all; });
  CHECK(last == total);
  CHECK(total == 3 * 7 + 2);
}
