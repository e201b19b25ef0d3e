// The seam: a plug-in's devices as the engine uses them. Runs on the emulator, which is always
// built.
#include <cstring>
#include <functional>
#include <vector>

#include "engine/base/error.h"
#include "engine/device/context.h"
#include "engine/device/plugin_device.h"
#include "engine/tensor/tensor.h"
#include "kernels/cuda/stream.h"
#include "tests/catch.h"

using namespace perilune;

namespace {

ErrorCode code_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.code();
  }
  return ErrorCode::internal;
}

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("bytes come back as they went") {
  const auto context = Context::make();
  const auto device = context->device("emulator");
  CHECK(device->name() == "emulator");
  CHECK_FALSE(device->host_visible());
  CHECK(context->device("emulator") == device);
  for (const std::size_t bytes :
       {std::size_t{0}, std::size_t{1}, std::size_t{513}, std::size_t{3} << 20}) {
    std::vector<unsigned char> sent(bytes), back(bytes, 0);
    for (std::size_t i = 0; i < bytes; ++i) sent[i] = static_cast<unsigned char>(i * 7);
    void* pointer = device->allocate(bytes);
    CHECK(reinterpret_cast<std::uintptr_t>(pointer) % 256 == 0);
    device->copy_in(pointer, sent.data(), bytes);
    device->copy_out(back.data(), pointer, bytes);
    device->release(pointer, bytes);
    CHECK(back == sent);
  }
}

TEST_CASE("memory is counted, kept for reuse and bounded") {
  ContextOptions options;
  options.memory_budget = 1 << 20;
  const auto context = Context::make(options);
  const auto device = context->device("emulator");
  void* first = device->allocate(1000);
  CHECK(device->memory().used == 1024);
  CHECK(device->memory().budget == 1 << 20);
  device->release(first, 1000);
  CHECK(device->memory().used == 0);
  CHECK(device->memory().peak == 1024);
  CHECK(device->allocate(900) == first);  // from the cache

  CHECK(code_of([&] { device->allocate(1 << 20); }) == ErrorCode::memory);
  const std::string message = message_of([&] { device->allocate(std::size_t{1} << 40); });
  CHECK(message.find(std::to_string(std::size_t{1} << 40)) != std::string::npos);
  CHECK(message.find("emulator") != std::string::npos);
  CHECK(message.find("1048576") != std::string::npos);
  CHECK(code_of([&] { device->allocate(~std::size_t{0}); }) == ErrorCode::memory);
  // Nothing was lost: what fits still fits, also when it must take the cache's place.
  void* most = device->allocate((1 << 20) - 2048);
  CHECK(device->memory().used == (1 << 20) - 1024);
  CHECK(device->health().empty());
  device->release(most, (1 << 20) - 2048);
  device->release(first, 900);
}

TEST_CASE("a tensor that does not fit leaves the device usable") {
  ContextOptions options;
  options.memory_budget = 4 << 20;
  const auto context = Context::make(options);
  const auto device = context->device("emulator");
  const Shape large{{"n", 8 << 20, 0}};
  CHECK(code_of([&] { Tensor::make(context, DType::f32, large, device); }) == ErrorCode::memory);
  const Tensor x = Tensor::from(context, std::vector<float>{1, 2, 3}, Shape{{"n", 3, 0}});
  CHECK(x.to(device).to_floats() == std::vector<float>{1, 2, 3});
}

TEST_CASE("a failed kernel poisons its device and no other") {
  const auto context = Context::make();
  const auto device = context->device("emulator");
  void* pointer = device->allocate(16);
  kernels::cuda::record_failure(*static_cast<kernels::cuda::Stream*>(device->launch().stream), 1,
                                "attention: planted");
  char host[16];
  CHECK(message_of([&] { device->copy_out(host, pointer, 16); }).find("attention: planted") !=
        std::string::npos);
  CHECK(code_of([&] { device->allocate(1); }) == ErrorCode::device);
  CHECK(code_of([&] { device->synchronize(); }) == ErrorCode::device);
  CHECK(device->health().find("attention: planted") != std::string::npos);
  device->release(pointer, 16);
  CHECK(context->cpu().health().empty());
  CHECK(Context::make()->device("emulator")->health().empty());
}

TEST_CASE("devices that are not there are said so in one sentence") {
  const auto context = Context::make();
  CHECK(code_of([&] { context->device("gpu"); }) == ErrorCode::option);
  for (const char* name : {"cuda:-1", "cuda:", "cuda:x", "cuda:99999", "emulator:1"}) {
    CHECK(code_of([&] { context->device(name); }) == ErrorCode::option);
  }
  CHECK(code_of([&] { context->device("cuda:977"); }) == ErrorCode::device);
  CHECK(message_of([&] { context->device("cuda:977"); }).find("cuda") != std::string::npos);
}
