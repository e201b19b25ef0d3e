// A pass as one piece of work: what a graph starts is what the calls between begin() and end()
// would have done, and a value of an earlier pass in it is found out. On the emulator and on fake
// GPUs.
#include <cstring>
#include <numeric>
#include <thread>
#include <vector>

#include "kernels/cuda/graph.h"
#include "tests/cuda/fake/gpus.h"

using namespace perilune;
using kernels::PluginError;
using kernels::cuda::Graph;
using kernels::cuda::Stream;
using perilune_test::Failure;
using perilune_test::failure_of;
using perilune_test::Gpus;
using perilune_test::stream_of;

namespace {

constexpr std::int64_t kCount = 5;
#if __has_builtin(__builtin_clear_padding)
constexpr bool kClears = true;
#else
constexpr bool kClears = false;  // arguments may differ in what lies between them
#endif
using Values = std::vector<float>;

Values numbers(float first) {
  Values values(kCount);
  std::iota(values.begin(), values.end(), first);
  return values;
}

/// A device, and memory on it.
struct Bench {
  explicit Bench(const char* name = "emulator")
      : context(Context::make()), device(context->device(name)), graph(device->make_graph()) {}

  Tensor empty() const {
    return Tensor::make(context, DType::f32, Shape{{"n", kCount, 0}}, device);
  }
  void send(const Tensor& to, const Values& values) const {
    device->copy_in(to.data(), values.data(), values.size() * sizeof(float));
  }
  /// A kernel: to = from.
  void copy(const Tensor& to, const Tensor& from) const {
    kernels::CopyArguments a{};
    a.rank = 1;
    a.sizes[0] = kCount;
    a.x = {from.data(), DType::f32, {1}};
    a.out = {to.data(), DType::f32, {1}};
    device->kernels().copy(device->launch(), a);
  }
  /// One pass: the values go to `in`, a kernel takes them to `out`.
  void pass(const Tensor& in, const Tensor& out, float first) const {
    REQUIRE(graph->begin());
    send(in, numbers(first));
    copy(out, in);
    graph->end();
  }

  std::shared_ptr<Context> context;
  std::shared_ptr<Device> device;
  std::unique_ptr<DeviceGraph> graph;
};

}  // namespace

TEST_CASE("a graph is made once and brought up to date where a pass differs") {
  const Bench bench;
  const Tensor in = bench.empty(), first = bench.empty(), second = bench.empty();
  for (int pass = 0; pass < 3; ++pass) {
    bench.pass(in, first, static_cast<float>(pass));
    CHECK(first.to_floats() == numbers(static_cast<float>(pass)));
  }
  DeviceTraffic traffic = bench.device->traffic();
  CHECK(traffic.graph_starts == 3);
  CHECK(traffic.graph_builds == 1);
  if (kClears) CHECK(traffic.graph_updates == 0);
  bench.pass(in, second, 40);  // the kernel's arguments are others
  CHECK(second.to_floats() == numbers(40));
  CHECK(first.to_floats() == numbers(2));
  traffic = bench.device->traffic();
  CHECK(traffic.graph_builds == 1);
  if (kClears) CHECK(traffic.graph_updates == 1);
  // Another kernel more, and one less: made again.
  REQUIRE(bench.graph->begin());
  bench.send(in, numbers(50));
  bench.copy(first, in);
  bench.copy(second, first);
  bench.device->copy_inside(in.data(), second.data(), sizeof(float));
  bench.device->fill(first.data(), 0, sizeof(float));
  bench.graph->end();
  CHECK(second.to_floats() == numbers(50));
  CHECK(first.to_floats() == Values{0, 51, 52, 53, 54});
  bench.pass(in, first, 60);
  CHECK(first.to_floats() == numbers(60));
  CHECK(bench.device->traffic().graph_builds == 3);
  CHECK(bench.device->health().empty());
}

TEST_CASE("planted: an update that is forgotten is found out") {
  const Bench bench;
  const Tensor in = bench.empty(), first = bench.empty(), second = bench.empty();
  bench.pass(in, first, 1);
  REQUIRE(bench.graph->begin());
  stream_of(*bench.device).graph->forget_updates();
  bench.send(in, numbers(2));
  bench.copy(second, in);
  const Failure failure = failure_of([&] { bench.graph->end(); });
  CHECK(failure.code == ErrorCode::device);
  CHECK(failure.says("(copy_4) would run with values of an earlier pass"));
  CHECK_FALSE(bench.device->health().empty());
}

TEST_CASE("planted: a start with inputs that were not recorded anew reads poison") {
  Graph graph;
  Stream stream;
  PluginError error{};
  const std::uint32_t sent = 7;
  std::uint32_t there = 0;
  REQUIRE(graph.begin(error) == kernels::kPluginDone);
  REQUIRE(graph.add_copy_in(&there, &sent, sizeof sent));
  REQUIRE(graph.end(stream, error) == kernels::kPluginDone);
  CHECK(there == 7);
  REQUIRE(graph.start_again(stream, error) == kernels::kPluginDone);
  CHECK(there == 0xa5a5a5a5u);
}

TEST_CASE("what a graph cannot hold starts what was recorded, in order") {
  const Bench bench;
  const Tensor in = bench.empty(), out = bench.empty();
  for (int pass = 0; pass < 3; ++pass) {
    const auto first = static_cast<float>(pass);
    REQUIRE(bench.graph->begin());
    bench.send(in, numbers(first));
    bench.copy(out, in);
    CHECK(out.to_floats() == numbers(first));  // a copy to the host
    bench.send(in, numbers(first + 10));
    bench.copy(out, in);
    bench.graph->end();
    CHECK(out.to_floats() == numbers(first + 10));
  }
  CHECK(bench.device->traffic().graph_starts == 0);
  CHECK_FALSE(bench.graph->begin());  // it would be no better
  CHECK(bench.device->health().empty());
}

TEST_CASE("memory that is asked for meanwhile ends a recording, and the next is whole") {
  const Bench bench;
  const Tensor in = bench.empty(), out = bench.empty();
  REQUIRE(bench.graph->begin());
  bench.send(in, numbers(1));
  bench.copy(out, in);
  { const Tensor other = bench.empty(); }
  bench.graph->end();
  CHECK(out.to_floats() == numbers(1));
  CHECK(bench.device->traffic().graph_starts == 0);
  bench.pass(in, out, 2);
  CHECK(out.to_floats() == numbers(2));
  CHECK(bench.device->traffic().graph_starts == 1);
}

TEST_CASE("the step block grows to what a pass copies in") {
  const Bench bench;
  const std::vector<unsigned char> large(3 * Graph::kStepBytes, 9);
  void* const there = bench.device->allocate(large.size());
  for (int pass = 0; pass < 2; ++pass) {
    REQUIRE(bench.graph->begin());
    bench.device->copy_in(there, large.data(), large.size());
    bench.graph->end();
    std::vector<unsigned char> back(large.size());
    bench.device->copy_out(back.data(), there, back.size());
    CHECK(back == large);
  }
  CHECK(bench.device->traffic().graph_starts == 1);
  bench.device->release(there, large.size());
}

TEST_CASE("what another thread starts meanwhile is not recorded, nor does it record") {
  const Bench bench;
  const Tensor in = bench.empty(), out = bench.empty(), other = bench.empty();
  bench.send(in, numbers(7));
  REQUIRE(bench.graph->begin());
  bench.send(in, numbers(1));
  bool records = true;
  std::thread([&] {
    const auto second = bench.device->make_graph();
    records = second->begin();
    bench.copy(other, in);
    if (records) second->end();
  }).join();
  CHECK_FALSE(records);
  CHECK(other.to_floats() == numbers(7));
  bench.graph->end();
  CHECK(in.to_floats() == numbers(1));
}

TEST_CASE("nothing of an abandoned recording happens") {
  const Bench bench;
  const Tensor in = bench.empty(), first = bench.empty(), second = bench.empty();
  bench.pass(in, first, 1);
  REQUIRE(bench.graph->begin());
  bench.send(in, numbers(2));
  bench.copy(second, in);
  bench.graph->abandon();
  CHECK(in.to_floats() == numbers(1));
  bench.pass(in, first, 3);
  CHECK(first.to_floats() == numbers(3));
  CHECK(bench.device->traffic().graph_starts == 2);
}

TEST_CASE("a GPU's graph gives its memory back, also after a fault") {
  const bool faults = GENERATE(false, true);
  Gpus gpus;
  const Bench bench("cuda");
  const Tensor in = bench.empty(), out = bench.empty();
  bench.pass(in, out, 1);
  CHECK(out.to_floats() == numbers(1));
  CHECK(gpus->pinned == 1);  // the step block: no other copy was made
  if (!faults) return;
  gpus->fault = true;
  const Failure failure = failure_of([&] {
    if (bench.graph->begin()) bench.graph->end();
  });
  CHECK(failure.code == ErrorCode::device);
  CHECK(failure.says("illegal memory access"));
}
