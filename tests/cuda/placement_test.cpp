// A plan over two devices: half the layers on the CPU, half on the emulator.
#include "tests/catch.h"
#include "tests/engine/pass_support.h"

using namespace perilune_test;

namespace {

/// Logits of the rows, then of a few decode steps, end to end.
std::vector<float> logits_of(const SmallLlama& model, const std::shared_ptr<const Plan>& plan,
                             const std::shared_ptr<Device>& device) {
  const std::vector<std::vector<std::int32_t>> prompt{{1, 7, 12, 9}, {3, 4}};
  Sequences sequences(model, plan->program(), prompt.size());
  sequences.cache = std::make_shared<Cache>(
      model.context, device, CacheLayout(plan->kv_slots(), DType::f32), std::int64_t{64} << 20);
  for (auto& row : sequences.rows) row = std::make_unique<SequenceCache>(sequences.cache);
  Execution execution(plan);
  std::vector<float> all;
  std::vector<std::vector<std::int32_t>> rows = prompt;
  for (int step = 0; step < 4; ++step) {
    execution.bind(sequences.bind(model, rows));
    execution.run();
    sequences.commit(rows);
    const std::vector<float> logits = execution.output("logits").to_floats();
    all.insert(all.end(), logits.begin(), logits.end());
    rows = {{5 + step}, {11 + step}};
  }
  return all;
}

float largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  float most = 0;
  for (std::size_t i = 0; i < a.size(); ++i) most = std::max(most, std::abs(a[i] - b[i]));
  return most;
}

}  // namespace

TEST_CASE("a plan over the CPU and the emulator: transfers where values cross, the same answers") {
  const SmallLlama model(golden_model("llama-gqa"));
  const auto cpu = model.context->cpu_device(), emulator = model.context->device("emulator");
  PlanOptions on_emulator;
  on_emulator.device = emulator;
  const auto expected = logits_of(model, model.plan(), cpu);
  const auto alone = logits_of(model, model.plan(on_emulator), emulator);
  for (const char* moved : {"layers.0", "layers.1", "layers.2"}) {
    CAPTURE(moved);
    PlanOptions options;
    options.devices = {{moved, emulator}, {"layers.1.mlp", emulator}};
    const auto plan = model.plan(options);
    REQUIRE(plan->devices().size() == 2);
    CHECK(plan->text().find("transfer") != std::string::npos);
    const auto split = logits_of(model, plan, cpu);
    CHECK(largest_difference(split, expected) <= 1e-4f);
    CHECK(largest_difference(split, alone) <= 1e-4f);
    if (same_bits(expected, alone)) CHECK(same_bits(split, expected));
    for (const KvSlotSpec& slot : plan->kv_slots()) {
      CHECK(slot.device == (slot.path == moved ? emulator : cpu));
    }
  }
}

TEST_CASE("a map that names one device everywhere changes nothing") {
  const SmallLlama model(golden_model("llama-gqa"));
  const auto cpu = model.context->cpu_device();
  PlanOptions options;
  options.devices = {{"layers", cpu}};
  const auto plan = model.plan(options);
  CHECK(plan->devices().size() == 1);
  CHECK(plan->text().find("transfer") == std::string::npos);
  CHECK(same_bits(logits_of(model, plan, cpu), logits_of(model, model.plan(), cpu)));
}
