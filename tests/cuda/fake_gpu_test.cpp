// The seam when a GPU misbehaves, is one of several, or is not there: plugin.cpp and the engine
// over a backend that fails on demand.
#include <atomic>
#include <cstdlib>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "tests/cuda/fake/gpus.h"

using namespace perilune;
using perilune_test::Failure;
using perilune_test::failure_of;
using perilune_test::Gpus;
using perilune_test::stream_of;
using perilune_test::three;

TEST_CASE("nothing is asked of a GPU before it is wanted") {
  const Gpus gpus;
  const auto context = Context::make();
  three(context);
  CHECK(failure_of([&] { context->device("cuda:2"); }).says("there are 2 GPUs"));
  CHECK(gpus->selected == -1);
  CHECK(context->device("auto")->name() == "cuda:0");
  CHECK(gpus->log == std::vector<std::string>{});
  CHECK(gpus->selected == -1);  // the thread works on what it did before
}

TEST_CASE("each of several GPUs gets its own work") {
  const Gpus gpus;
  const auto context = Context::make();
  const auto first = context->device("cuda"), second = context->device("cuda:1");
  CHECK(first == context->device("cuda:0"));
  const Tensor x = three(context).to(first);
  const Tensor y = x.to(second);
  CHECK(y.to_floats() == std::vector<float>{1, 2, 3});
  CHECK(first->memory().used == 512);
  CHECK(second->memory().used == 512);
  // A copy kept on another device, whichever of them reads the other's memory.
  for (const auto& device : {context->cpu_device(), first, second}) {
    CHECK(y.on(*device).device().name() == device->name());
    CHECK(y.on(*device).to_floats() == std::vector<float>{1, 2, 3});
  }
}

TEST_CASE("a fault is told by every call from then on, with the kernel, on that GPU alone") {
  const char* found_by = GENERATE("copy_out", "copy_in", "synchronize", "allocate", "health");
  const Gpus gpus;
  const auto context = Context::make();
  const auto device = context->device("cuda:0"), other = context->device("cuda:1");
  Tensor x = three(context).to(device);
  const Tensor y = three(context).to(other);
  stream_of(*device).last = "rms_norm";

  gpus->fault = true;
  const std::string call = found_by;
  std::string text;
  if (call == "health") {
    text = device->health();
  } else {
    const Failure failure = failure_of([&] {
      if (call == "copy_out") x.to_floats();
      if (call == "copy_in") device->copy_in(x.data(), "1234", 4);
      if (call == "synchronize") device->synchronize();
      if (call == "allocate") device->allocate(1 << 22);
    });
    CHECK(failure.code == ErrorCode::device);
    CHECK(failure.says("new process"));
    text = failure.text;
  }
  CHECK(text.find("illegal memory access") != std::string::npos);
  CHECK(text.find("rms_norm") != std::string::npos);
  gpus->fault = false;  // a fake heals, the device does not
  const std::string health = device->health();
  CHECK(health.find("rms_norm") != std::string::npos);
  CHECK(health == device->health());
  for (const auto& use : std::vector<std::function<void()>>{
           [&] { device->allocate(1); }, [&] { x.to_floats(); }, [&] { device->synchronize(); }}) {
    const Failure failure = failure_of(use);
    CHECK(failure.code == ErrorCode::device);
    CHECK(failure.says(health));
  }
  CHECK(device->memory().total == gpus->capacity);
  CHECK(other->health().empty());
  CHECK(y.to_floats() == std::vector<float>{1, 2, 3});
  x = Tensor();  // freed in peace
  CHECK(Context::make()->device("cuda")->health().empty());
}

TEST_CASE("tensors outlive their context, and a device waits for its work when it is closed") {
  const Gpus gpus;
  auto context = Context::make();
  Tensor x = three(context).to(context->device("cuda:1"));
  context.reset();
  CHECK(x.to_floats() == std::vector<float>{1, 2, 3});
  gpus->log.clear();
  x = Tensor();
  CHECK(gpus->log == std::vector<std::string>{"synchronize 1", "release_host 1", "release 1"});
}

TEST_CASE("every call works on its own GPU and leaves the caller's current one as it was") {
  const Gpus gpus;
  const auto context = Context::make();
  const auto device = context->device("cuda:1");
  gpus->selected = 0;  // a host's own
  void* a = device->allocate(64);
  void* b = device->allocate(64);
  const auto event = device->make_event();
  char back[64] = {};
  const std::vector<std::function<void()>> calls = {[&] { device->copy_in(a, back, 64); },
                                                    [&] { device->copy_out(back, a, 64); },
                                                    [&] { device->copy_inside(b, a, 64); },
                                                    [&] { device->fill(a, 1, 64); },
                                                    [&] { event->record(); },
                                                    [&] { (void)event->done(); },
                                                    [&] { event->wait(); },
                                                    [&] { device->synchronize(); },
                                                    [&] { (void)device->health(); },
                                                    [&] { (void)device->memory(); },
                                                    [&] { (void)device->launch(); }};
  for (const auto& call : calls) {
    gpus->log.clear();
    call();
    CHECK(gpus->selected == 0);
    for (const std::string& line : gpus->log) CHECK(line.back() == '1');
  }
  device->release(a, 64);
  device->release(b, 64);
}

TEST_CASE("an event is reached when the device gets there, not before") {
  Gpus gpus;
  const auto context = Context::make();
  const auto device = context->device("cuda");
  const auto event = device->make_event();
  CHECK(event->done());  // never recorded
  gpus->busy_seconds = 3600;
  event->record();
  CHECK_FALSE(event->done());
  CHECK_FALSE(event->done());
  gpus->busy_seconds = 0;
  event->record();
  CHECK(event->done());
  event->wait();
  CHECK(context->cpu().make_event() == nullptr);
  gpus->fault = true;
  CHECK(failure_of([&] { event->done(); }).code == ErrorCode::device);
}

TEST_CASE("a kernel is allowed large shared memory once, and again when it wants more") {
  kernels::cuda::Stream stream;
  const int first = 0, second = 0;  // their addresses stand for kernels
  CHECK(stream.must_allow(&first, 50000));
  CHECK_FALSE(stream.must_allow(&first, 50000));
  CHECK_FALSE(stream.must_allow(&first, 49500));
  CHECK(stream.must_allow(&second, 50000));
  CHECK(stream.must_allow(&first, 60000));
  CHECK_FALSE(stream.must_allow(&first, 60000));
  CHECK_FALSE(stream.must_allow(&second, 50000));
}

TEST_CASE("several threads may find out a failure: one is kept, whole") {
  std::atomic<int> torn{0};
  for (int round = 0; round < 200; ++round) {
    kernels::cuda::Stream stream;
    std::vector<std::thread> threads;
    for (int t = 1; t <= 3; ++t) {
      threads.emplace_back([&stream, &torn, t] {
        const std::string text(400, static_cast<char>('a' + t));
        kernels::cuda::record_failure(stream, t, text.c_str());
        // Whoever sees the status sees the message.
        const int status = stream.status;
        const std::string seen = stream.message;
        if (seen != std::string(400, static_cast<char>('a' + status))) ++torn;
      });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(std::string(stream.message) == std::string(400, static_cast<char>('a' + stream.status)));
  }
  CHECK(torn == 0);
}

TEST_CASE("a start with wrong arguments is told once, and the device stays well") {
  const Gpus gpus;
  const auto context = Context::make();
  const auto device = context->device("cuda");
  Tensor x = three(context).to(device);
  kernels::cuda::record_refusal(stream_of(*device), "softmax: invalid configuration argument");
  CHECK(device->health().empty());
  const Failure failure = failure_of([&] { x.to_floats(); });
  CHECK(failure.code == ErrorCode::device);
  CHECK(failure.says("softmax: invalid configuration"));
  CHECK_FALSE(failure.says("new process"));
  CHECK(x.to_floats() == std::vector<float>{1, 2, 3});
}

TEST_CASE("a plug-in of another version is refused with its path and the remedy") {
  setenv("PERILUNE_PLUGINS", PERILUNE_OLD_PLUGIN, 1);
  const Failure failure = failure_of([] { Context::make()->device("cuda"); });
  unsetenv("PERILUNE_PLUGINS");
  CHECK(failure.code == ErrorCode::device);
  CHECK(failure.says(std::string(PERILUNE_OLD_PLUGIN) + "/libperilune_cuda.so"));
  CHECK(failure.says("another version of the engine"));
  CHECK(failure.says("not version " + std::to_string(kernels::kPluginVersion)));
}

TEST_CASE("a GPU that cannot be used: auto takes the CPU and warns, cuda is an error") {
  const Gpus gpus;
  gpus->too_old = true;
  std::vector<std::string> warnings;
  ContextOptions options;
  options.on_warning = [&](std::string_view text, std::string_view) {
    warnings.emplace_back(text);
  };
  const auto context = Context::make(options);
  CHECK(context->device("auto")->name() == "cpu");
  CHECK(context->device("auto")->name() == "cpu");
  REQUIRE(warnings.size() == 1);
  CHECK(warnings[0].find("sm_70") != std::string::npos);
  const Failure failure = failure_of([&] { context->device("cuda"); });
  CHECK(failure.code == ErrorCode::device);
  CHECK(failure.says("sm_70"));

  gpus->count = 0;  // nothing to warn of
  const auto without = Context::make(options);
  CHECK(without->device("auto")->name() == "cpu");
  CHECK(warnings.size() == 1);
  CHECK(failure_of([&] { without->device("cuda"); }).says("the driver shows no GPU"));
}

TEST_CASE("a constant that was freed is an error, not a copy of nothing") {
  const Gpus gpus;
  const auto context = Context::make();
  const auto device = context->device("cuda");
  const Tensor x = three(context);
  x.storage()->free_now();
  CHECK(failure_of([&] { x.on(*device); }).code == ErrorCode::state);
}
