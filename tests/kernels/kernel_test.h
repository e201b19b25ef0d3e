// What the kernel tests share: the tables under test, threads, random values, comparisons.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "kernels/cuda/cuda_table.h"
#include "kernels/cuda/stream.h"
#include "kernels/kernel_table.h"
#include "tests/catch.h"
#include "tests/kernels/plugin_table.h"

namespace perilune::kernels::wide {
/// The fast sources over sixteen lanes of plain C++: the shape of the avx512 tier, on any
/// processor.
const KernelTable& table();
}  // namespace perilune::kernels::wide

namespace kernel_test {

using namespace perilune;
using namespace perilune::kernels;

/// PERILUNE_KERNELS=emulator: the CUDA kernels, run by the emulator on this machine's memory; cuda:
/// on the first GPU; plugin-emulator: the emulator in the GPU's place. Else the tier that
/// PERILUNE_CPU names, or the best; with none or "scalar" also the wide table.
inline std::vector<const KernelTable*> choose_tables() {
  const char* device = std::getenv("PERILUNE_KERNELS");
  if (device != nullptr && *device != '\0') {
    const std::string kind = device;
    if (kind == "cuda") return {&open_plugin(kind)};
    if (kind != "emulator" && kind != "plugin-emulator")
      throw std::runtime_error("PERILUNE_KERNELS: emulator, cuda or plugin-emulator, not " + kind);
    setenv("PERILUNE_EMULATOR_ORDER", "shuffled", 0);  // of all orders the one that finds most
    if (kind == "plugin-emulator") return {&open_plugin("emulator")};
    return {&cuda::table("emulator")};
  }
  const char* name = std::getenv("PERILUNE_CPU");
  if (name != nullptr && *name == '\0') name = nullptr;
  std::vector<const KernelTable*> tables = {cpu_table(name)};
  if (name == nullptr || std::string(name) == "scalar") tables.push_back(&wide::table());
  return tables;
}

/// Says once which they are.
inline const std::vector<const KernelTable*>& tables_under_test() {
  static const std::vector<const KernelTable*> tables = [] {
    std::vector<const KernelTable*> chosen = choose_tables();
    for (const KernelTable* table : chosen) std::cout << "kernel table: " << table->tier << '\n';
    return chosen;
  }();
  return tables;
}

/// Takes its time: tests leave out what the others show, threads of the host among them.
inline bool is_emulated(const KernelTable& table) {
  return std::string(table.tier) == "emulator";
}

inline const KernelTable& scalar_table() {
  return *cpu_table("scalar");
}

/// Tasks dealt out over freshly started threads, highest index first.
inline Parallel parallel_of(int threads) {
  static const auto run = [](void* host, std::int64_t tasks,
                             void (*task)(void* state, std::int64_t index), void* state) {
    const auto count = static_cast<std::int64_t>(reinterpret_cast<std::intptr_t>(host));
    std::vector<std::thread> workers;
    for (std::int64_t w = 0; w < count; ++w)
      workers.emplace_back([=] {
        for (std::int64_t i = tasks - 1 - w; i >= 0; i -= count) task(state, i);
      });
    for (auto& worker : workers) worker.join();
  };
  if (threads <= 1) return {};
  Parallel parallel;
  parallel.host = reinterpret_cast<void*>(static_cast<std::intptr_t>(threads));
  parallel.run = run;
  parallel.threads = threads;
  return parallel;
}

/// 64-byte aligned bytes, filled with NaN patterns.
class Buffer {
 public:
  explicit Buffer(std::size_t bytes) : bytes_(std::max<std::size_t>(64, (bytes + 63) / 64 * 64)) {
    data_ = device_memory(bytes_);
    if (data_ == nullptr) data_ = std::aligned_alloc(64, bytes_);
    std::memset(data_, 0xff, bytes_);
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  Buffer(Buffer&& other) noexcept : bytes_(other.bytes_), data_(other.data_) {
    other.data_ = nullptr;
  }
  ~Buffer() {
    if (!release_device_memory(data_)) std::free(data_);
  }
  void* data() { return data_; }
  const void* data() const { return data_; }

 private:
  std::size_t bytes_;
  void* data_ = nullptr;
};

/// The stream of the CUDA kernels; CPU tables do not look at it.
inline cuda::Stream& test_stream() {
  static cuda::Stream stream;
  return stream;
}

/// A launch whose kernel must not have failed when the launch goes.
struct CheckedLaunch : Launch {
  CheckedLaunch(int threads, Buffer* scratch_buffer) {
    parallel = parallel_of(threads);
    stream = plugin_stream() != nullptr ? plugin_stream() : &test_stream();
    scratch = scratch_buffer == nullptr ? nullptr : scratch_buffer->data();
  }
  CheckedLaunch(const CheckedLaunch&) = delete;
  CheckedLaunch& operator=(const CheckedLaunch&) = delete;
  ~CheckedLaunch() {
    if (const std::string failed = plugin_failure(); !failed.empty())
      FAIL_CHECK("a kernel failed: " << failed);
    cuda::Stream& used = test_stream();
    if (used.status == 0) return;
    const std::string message = used.message;
    used.status = 0;
    used.message[0] = '\0';
    FAIL_CHECK("a kernel failed: " << message);
  }
};

inline CheckedLaunch launch_of(int threads, Buffer* scratch = nullptr) {
  return CheckedLaunch(threads, scratch);
}

/// Rows as a device that cannot read KvRow wants them; null for the others.
class StagedRows {
 public:
  StagedRows(const KernelTable& table, const KvLayout& layout, const KvRow* rows,
             std::int64_t count)
      : bytes_(table.kv_rows_bytes == nullptr ? 0 : table.kv_rows_bytes(layout, rows, count)) {
    if (table.kv_rows_stage == nullptr) return;
    table.kv_rows_stage(layout, rows, count, bytes_.data(), bytes_.data());
    staged_ = bytes_.data();
  }
  const void* data() const { return staged_; }

 private:
  Buffer bytes_;
  const void* staged_ = nullptr;
};

/// A small generator with the same values everywhere.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed * 2862933555777941757u + 3037000493u) {}
  std::uint64_t next() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return state_;
  }
  /// Uniform in [-scale, scale).
  float value(float scale = 1.0f) {
    return (static_cast<float>(next() >> 40) / 8388608.0f - 1.0f) * scale;
  }
  std::int64_t below(std::int64_t end) {
    return static_cast<std::int64_t>(next() % static_cast<std::uint64_t>(end));
  }
  std::vector<float> values(std::int64_t count, float scale = 1.0f) {
    std::vector<float> result(static_cast<std::size_t>(count));
    for (float& x : result) x = value(scale);
    return result;
  }

 private:
  std::uint64_t state_;
};

/// Largest |a - b| relative to max(1, max |b|); infinite where one is NaN and the other is not.
template <class Reference>
double difference(const std::vector<float>& a, const std::vector<Reference>& b) {
  if (a.size() != b.size()) return INFINITY;
  double largest = 1, worst = 0;
  for (const Reference x : b)
    if (std::isfinite(x)) largest = std::max(largest, std::fabs(static_cast<double>(x)));
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (std::isnan(a[i]) != std::isnan(b[i])) return INFINITY;
    if (std::isnan(a[i]) || static_cast<double>(a[i]) == static_cast<double>(b[i])) continue;
    worst = std::max(worst, std::fabs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
  }
  return worst / largest;
}

inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

/// Activations in double precision.
inline double reference_activation(Activation activation, double x) {
  switch (activation) {
    case Activation::none: return x;
    case Activation::gelu: return 0.5 * x * std::erfc(-x * std::sqrt(0.5));
    case Activation::gelu_tanh:
      return 0.5 * x *
             (1 + std::tanh(std::sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)));
    case Activation::quick_gelu: return x / (1 + std::exp(-1.702 * x));
    case Activation::relu: return x < 0 ? 0 : x;
    case Activation::silu: return x / (1 + std::exp(-x));
    case Activation::tanh: return std::tanh(x);
    case Activation::sigmoid: return 1 / (1 + std::exp(-x));
    case Activation::gelu_10:
      return std::clamp(0.5 * x * std::erfc(-x * std::sqrt(0.5)), -10.0, 10.0);
    case Activation::relu2: return x < 0 ? 0 : x * x;
    case Activation::relu6: return std::clamp(x, 0.0, 6.0);
    case Activation::leaky_relu: return x < 0 ? 0.01 * x : x;
    case Activation::mish: return x * std::tanh(x > 30 ? x : std::log1p(std::exp(x)));
    case Activation::laplace: return 0.5 * std::erfc(-(x - 0.707107) / (0.282095 * std::sqrt(2.0)));
  }
  return x;
}

inline constexpr Activation kActivations[] = {
    Activation::none,    Activation::gelu,   Activation::gelu_tanh, Activation::quick_gelu,
    Activation::relu,    Activation::silu,   Activation::tanh,      Activation::sigmoid,
    Activation::gelu_10, Activation::relu2,  Activation::relu6,     Activation::leaky_relu,
    Activation::mish,    Activation::laplace};

}  // namespace kernel_test
