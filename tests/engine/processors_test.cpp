// Processors in C++: masks of bits, changes of a row, what they are told.
#include "engine/serving/processors.h"

#include "tests/catch.h"
#include "tests/engine/scheduler_support.h"
#include "tests/support.h"

using namespace perilune;
using namespace perilune_test;

namespace {

std::string folder() {
  return golden_model("llama-gqa");
}

/// Lets through one id after the other, as bits, and writes down what it is told.
class OneAfterOther final : public Processor {
 public:
  std::span<const std::uint32_t> allowed(const Request&, const Sequence& sequence) override {
    const auto id = static_cast<std::size_t>(40 + sequence.ids.size());
    bits_.assign(id / 32 + 1, 0);
    bits_[id / 32] = std::uint32_t{1} << (id % 32);
    return bits_;
  }
  void accept(std::span<const std::int32_t> ids, const Request&,
              const Sequence& sequence) override {
    for (const std::int32_t id : ids) told.push_back(id);
    last = sequence.ids.back();
  }
  std::vector<std::int32_t> told;
  std::int32_t last = 0;

 private:
  std::vector<std::uint32_t> bits_;
};

}  // namespace

TEST_CASE("a mask of bits lets through what it allows, and hears what was chosen") {
  const Served served(folder());
  auto scheduler = served.scheduler(std::make_shared<Fifo>());
  for (const bool sampled : {false, true}) {
    auto request_spec = served.request({1, 5}, 30);
    request_spec.options.sampling.do_sample = sampled;
    const auto mask = std::make_shared<OneAfterOther>();
    request_spec.hooks.processors = {mask};
    const auto request = scheduler.submit(request_spec, served.cache);
    REQUIRE(drain(scheduler));
    REQUIRE(request->progress.error.empty());
    std::vector<std::int32_t> want;
    for (std::int32_t id = 42; id < 72; ++id) want.push_back(id);
    CHECK(new_ids(*request) == want);
    want.pop_back();  // with the last one it was done
    CHECK(mask->told == want);
    CHECK(mask->last == 70);
  }
  std::vector<float> scores(70, 1.0f);
  const std::uint32_t bits[] = {~std::uint32_t{0}, 5};
  apply_mask(scores, bits);
  for (std::size_t id = 0; id < scores.size(); ++id) {
    CHECK((scores[id] == 1.0f) == (id < 32 || id == 32 || id == 34));
  }
  auto beams_spec = served.request({1, 5}, 4);
  beams_spec.options.beams.beams = 2;
  beams_spec.hooks.processors = {std::make_shared<OneAfterOther>()};
  const auto beams = scheduler.submit(beams_spec, served.cache);
  REQUIRE(drain(scheduler));
  CHECK(new_ids(*beams) == std::vector<std::int32_t>{42, 43, 44, 45});
}
