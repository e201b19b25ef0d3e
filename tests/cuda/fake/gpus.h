// The GPUs of fake_gpu.h as the tests use them.
#pragma once

#include <dlfcn.h>

#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/error.h"
#include "engine/device/context.h"
#include "engine/device/plugin_device.h"
#include "engine/tensor/tensor.h"
#include "kernels/cuda/stream.h"
#include "tests/catch.h"
#include "tests/cuda/fake/fake_gpu.h"

namespace perilune_test {

using namespace perilune;

/// Fresh GPUs, found as "cuda" while it lives.
class Gpus {
 public:
  Gpus() {
    setenv("PERILUNE_PLUGINS", PERILUNE_FAKE_GPU, 1);
    const std::string file = std::string(PERILUNE_FAKE_GPU) + "/libperilune_cuda.so";
    void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    REQUIRE(library != nullptr);
    state_ = reinterpret_cast<FakeGpus* (*)()>(dlsym(library, "fake_gpus"))();
    *state_ = {};
  }
  ~Gpus() {
    unsetenv("PERILUNE_PLUGINS");
    CHECK(state_->allocated == 0);
    CHECK(state_->pinned == 0);
    CHECK(state_->streams == 0);
    CHECK(state_->events == 0);
  }
  Gpus(const Gpus&) = delete;
  Gpus& operator=(const Gpus&) = delete;
  FakeGpus* operator->() const { return state_; }

 private:
  FakeGpus* state_ = nullptr;
};

struct Failure {
  ErrorCode code = ErrorCode::internal;
  std::string text;  // "" when nothing was thrown
  bool says(const std::string& words) const { return text.find(words) != std::string::npos; }
};

inline Failure failure_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return {error.code(), error.what()};
  }
  return {};
}

inline kernels::cuda::Stream& stream_of(const Device& device) {
  return *static_cast<kernels::cuda::Stream*>(device.launch().stream);
}

inline Tensor three(const std::shared_ptr<Context>& context) {
  return Tensor::from(context, std::vector<float>{1, 2, 3}, Shape{{"n", 3, 0}});
}

}  // namespace perilune_test
