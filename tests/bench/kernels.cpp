// Speed of the CPU kernels as a share of what this processor can do, both measured in one run.
//
//   bench_kernels [--json] [--threads N] [--tier NAME] [--seconds S] [--filter TEXT]
//
// Products: GFLOP/s against the peak of f32 fused multiply-adds (mode f32) or of dot products of
// bf16 pairs or of bytes (modes bf16 and int8, where the tier has them); for one row also the rate
// at which the weight is read.
#include <immintrin.h>
#include <time.h>

#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <iomanip>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/thread_pool.h"
#include "kernels/kernel_table.h"

namespace {

using namespace perilune;
using namespace perilune::kernels;

struct Options {
  bool json = false;
  int threads = 1;
  const char* tier = nullptr;
  double seconds = 0.15;  // for each measurement
  std::string filter;     // only lines that contain this
};

double wall() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Wall time; with one thread its processor time, which other programs disturb less.
double clock_of(const Parallel& parallel) {
  if (parallel.threads > 1) return wall();
  timespec time = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

/// The shortest of the runs that fit into `seconds` of wall time, three at least.
template <class Body>
double shortest(const Parallel& parallel, double seconds, const Body& body) {
  body();
  double best = 1e30;
  const double start = wall();
  for (int i = 0; i < 3 || wall() - start < seconds; ++i) {
    const double from = clock_of(parallel);
    body();
    best = std::min(best, clock_of(parallel) - from);
  }
  return best;
}

struct Free {
  void operator()(void* p) const { std::free(p); }
};
using Memory = std::unique_ptr<void, Free>;
Memory allocate(std::size_t bytes) {
  return Memory(std::aligned_alloc(64, (bytes + 127) / 64 * 64));
}

// ---------------------------------------------------------------- peaks

constexpr std::int64_t kPeakSteps = 200000;

// Twelve sums that do not wait for each other; the asm keeps them alive. All loops over them are
// unrolled, or they would not stay in registers. A macro, since code that is inlined must be built
// for the same instructions.
#define PERILUNE_STREAM(NAME, ATTRIBUTES, SUM, REGISTER, ONE, FACTOR, STEP) \
  ATTRIBUTES void NAME() {                                                  \
    SUM sums[12];                                                           \
    _Pragma("GCC unroll 12") for (SUM & sum : sums) sum = ONE;              \
    const auto a = FACTOR;                                                  \
    for (std::int64_t i = 0; i < kPeakSteps; ++i)                           \
      _Pragma("GCC unroll 12") for (SUM & sum : sums) {                     \
        sum = STEP;                                                         \
        __asm__ volatile("" : "+" REGISTER(sum));                           \
      }                                                                     \
  }

PERILUNE_STREAM(fma_256, __attribute__((target("avx2,fma"))), __m256, "x", _mm256_set1_ps(1.0f),
                _mm256_set1_ps(0.5f), _mm256_fmadd_ps(a, sum, a))
PERILUNE_STREAM(fma_512, __attribute__((target("avx512f"))), __m512, "v", _mm512_set1_ps(1.0f),
                _mm512_set1_ps(0.5f), _mm512_fmadd_ps(a, sum, a))
PERILUNE_STREAM(dot_512, __attribute__((target("avx512f,avx512bf16"))), __m512, "v",
                _mm512_set1_ps(1.0f), (__m512bh)_mm512_set1_epi32(0x3f003f00),
                _mm512_dpbf16_ps(sum, a, a))
PERILUNE_STREAM(bytes_512, __attribute__((target("avx512f,avx512vnni"))), __m512i, "v",
                _mm512_set1_epi32(1), _mm512_set1_epi32(0x01010101), _mm512_dpbusd_epi32(sum, a, a))
PERILUNE_STREAM(multiply_add_128, , __m128, "x", _mm_set1_ps(1.0f), _mm_set1_ps(0.5f),
                _mm_add_ps(_mm_mul_ps(a, sum), a))
#undef PERILUNE_STREAM

/// GFLOP/s of one instruction stream on all threads.
double peak(const Parallel& parallel, void (*body)(), double flops_per_step) {
  const double seconds = shortest(parallel, 0.2, [&] {
    parallel.run(
        parallel.host, parallel.threads,
        [](void* state, std::int64_t) { (*static_cast<void (**)()>(state))(); },
        static_cast<void*>(&body));
  });
  return flops_per_step * 12 * static_cast<double>(kPeakSteps) * parallel.threads / seconds / 1e9;
}

struct Peaks {
  double f32 = 0, bf16 = 0, int8 = 0;  // GFLOP/s
};
Peaks measure_peaks(const std::string& tier, const Parallel& parallel) {
  if (tier == "avx512")
    return {peak(parallel, fma_512, 32), peak(parallel, dot_512, 64),
            peak(parallel, bytes_512, 128)};
  if (tier == "avx2") return {peak(parallel, fma_256, 16), 0, 0};
  return {peak(parallel, multiply_add_128, 8), 0, 0};
}

/// GB/s of reading 256 MiB.
double read_rate(const Parallel& parallel) {
  constexpr std::size_t kWords = std::size_t{1} << 25;
  const Memory memory = allocate(kWords * 8);
  auto* words = static_cast<std::uint64_t*>(memory.get());
  for (std::size_t i = 0; i < kWords; ++i) words[i] = i;
  struct State {
    const std::uint64_t* words;
    std::size_t each;
  } state = {words, kWords / static_cast<std::size_t>(parallel.threads)};
  const double seconds = shortest(parallel, 0.2, [&] {
    parallel.run(
        parallel.host, parallel.threads,
        [](void* host, std::int64_t index) {
          const State& s = *static_cast<State*>(host);
          const auto* p =
              reinterpret_cast<const __m128i*>(s.words + static_cast<std::size_t>(index) * s.each);
          __m128i a = _mm_setzero_si128(), b = a, c = a, d = a;
          for (std::size_t i = 0; i < s.each / 2; i += 4) {
            a = _mm_or_si128(a, p[i]);
            b = _mm_or_si128(b, p[i + 1]);
            c = _mm_or_si128(c, p[i + 2]);
            d = _mm_or_si128(d, p[i + 3]);
          }
          a = _mm_or_si128(_mm_or_si128(a, b), _mm_or_si128(c, d));
          __asm__ volatile("" : : "x"(a));
        },
        &state);
  });
  return static_cast<double>(kWords) * 8 / seconds / 1e9;
}

// ---------------------------------------------------------------- reports

struct Line {
  std::string what;
  double gflops, share;  // of the peak
  double gbytes;         // of weights or keys and values read, per second
};

void print(const Options& options, const std::string& tier, const Peaks& peaks, double rate,
           const std::vector<Line>& lines) {
  std::cout << std::fixed << std::setprecision(2);
  if (options.json) {
    std::cout << "{\"tier\":\"" << tier << "\",\"threads\":" << options.threads
              << ",\"peak_f32_gflops\":" << peaks.f32 << ",\"peak_bf16_gflops\":" << peaks.bf16
              << ",\"peak_int8_gflops\":" << peaks.int8 << ",\"read_gbytes\":" << rate
              << ",\"results\":[";
    for (std::size_t i = 0; i < lines.size(); ++i)
      std::cout << (i == 0 ? "" : ",") << "{\"name\":\"" << lines[i].what
                << "\",\"gflops\":" << lines[i].gflops << ",\"share_of_peak\":" << lines[i].share
                << ",\"gbytes\":" << lines[i].gbytes << "}";
    std::cout << "]}\n";
    return;
  }
  std::cout << "tier " << tier << ", threads " << options.threads << "; peak f32 " << peaks.f32
            << " GFLOP/s, bf16 dot " << peaks.bf16 << " GFLOP/s, of bytes " << peaks.int8
            << " GFLOP/s; memory read " << rate << " GB/s\n";
  for (const Line& line : lines)
    std::cout << std::left << std::setw(46) << line.what << std::right << std::setw(9)
              << line.gflops << " GFLOP/s " << std::setw(7) << 100 * line.share << " % of peak "
              << std::setw(8) << line.gbytes << " GB/s\n";
}

const char* name_of(WeightFormat format) {
  return format == WeightFormat::f32 ? "f32" : (format == WeightFormat::f16 ? "f16" : "bf16");
}

class Bench {
 public:
  Bench(const Options& options, const KernelTable& table, const Parallel& parallel, Peaks peaks)
      : options_(options), table_(table), parallel_(parallel), peaks_(peaks) {}

  void linear(std::int64_t outputs, std::int64_t inputs, WeightFormat format, MathMode math) {
    const auto elements = static_cast<std::size_t>(outputs * inputs);
    const Memory source = allocate(elements * 4);
    for (std::size_t i = 0; i < elements; ++i) {
      const float value = static_cast<float>(i % 97) * 0.01f - 0.4f;
      if (format == WeightFormat::f32)
        static_cast<float*>(source.get())[i] = value;
      else
        static_cast<std::uint16_t*>(source.get())[i] =
            format == WeightFormat::bf16 ? f32_to_bf16(value) : f32_to_f16(value);
    }
    const std::size_t bytes = table_.packed_bytes(format, outputs, inputs, math);
    const Memory packed = allocate(bytes);
    table_.pack(launch(nullptr),
                {source.get(), format, inputs, 1, outputs, inputs, math, packed.get()});
    const PackedMatrix matrix = {
        packed.get(), nullptr, outputs, inputs, table_.packed_format(format, math), math};
    for (const std::int64_t rows : {1, 2, 4, 8, 64, 512})
      product(matrix, rows, bytes, name_of(matrix.format));
  }

  void codes(std::int64_t outputs, std::int64_t inputs, const char* name) {
    const BlockFormat& format = *find_block_format(name);
    const std::int64_t row_bytes = format.row_blocks(inputs) * format.bytes;
    const Memory source = allocate(static_cast<std::size_t>(outputs * row_bytes));
    std::vector<float> row(static_cast<std::size_t>(inputs));
    for (std::size_t i = 0; i < row.size(); ++i) row[i] = static_cast<float>(i % 97) * 0.01f - 0.4f;
    auto* blocks = static_cast<std::uint8_t*>(source.get());
    for (std::int64_t o = 0; o < outputs; ++o)
      format.write(row.data(), inputs, blocks + o * row_bytes);
    const std::size_t bytes = table_.coded_bytes(format.coding, outputs, inputs);
    const Memory packed = allocate(bytes);
    PackCodedArguments pack = {};
    pack.source = blocks;
    pack.format = &format;
    pack.row_bytes = row_bytes;
    pack.outputs = outputs;
    pack.inputs = inputs;
    pack.destination = packed.get();
    table_.pack_coded(launch(nullptr), pack);
    PackedMatrix matrix = {packed.get(),        nullptr,       outputs, inputs,
                           WeightFormat::coded, MathMode::int8};
    matrix.coding = &format.coding;
    for (const std::int64_t rows : {1, 2, 4, 8, 16, 64, 512})
      product(matrix, rows, bytes, format.name);
  }

  void matmul(std::int64_t size) {
    const std::vector<float> a(static_cast<std::size_t>(size * size), 0.25f), b(a);
    std::vector<float> out(a.size());
    MatmulArguments arguments = {};
    arguments.out = out.data();
    arguments.a = a.data();
    arguments.b = b.data();
    arguments.batches = 1;
    arguments.m = arguments.n = arguments.k = arguments.out_m = arguments.a_m = arguments.b_n =
        size;
    arguments.a_k = arguments.b_k = 1;
    const std::string what = "matmul " + std::to_string(size);
    if (what.find(options_.filter) == std::string::npos) return;
    const double seconds =
        shortest(parallel_, options_.seconds, [&] { table_.matmul(launch(nullptr), arguments); });
    const double gflops = 2.0 * std::pow(static_cast<double>(size), 3.0) / seconds / 1e9;
    lines_.push_back({what, gflops, gflops / peaks_.f32, 0});
  }

  void attention(std::int64_t tokens, std::int64_t first, DType dtype) {
    constexpr std::int64_t kHeads = 32, kKvHeads = 4, kWidth = 64, kPageTokens = 64;
    const KvLayout layout = {dtype, kKvHeads, kWidth, kPageTokens};
    const std::int64_t keys = first + tokens, pages = (keys + kPageTokens - 1) / kPageTokens;
    const Memory storage = allocate(static_cast<std::size_t>(pages * kv_layer_bytes(layout)));
    std::vector<void*> pointers;
    for (std::int64_t p = 0; p < pages; ++p)
      pointers.push_back(static_cast<char*>(storage.get()) + p * kv_layer_bytes(layout));
    const std::vector<float> k(static_cast<std::size_t>(keys * kKvHeads * kWidth), 0.1f);
    std::vector<float> q(static_cast<std::size_t>(tokens * kHeads * kWidth), 0.1f), out(q.size());
    const KvRow all = {pointers.data(), 0, keys, 0, keys};
    KvWriteArguments write = {};
    write.layout = layout;
    write.k = write.v = k.data();
    write.rows = &all;
    write.row_count = 1;
    table_.kv_write(launch(nullptr), write);
    const KvRow row = {pointers.data(), 0, tokens, first, keys};
    AttentionArguments a = {};
    a.layout = layout;
    a.out = out.data();
    a.q = q.data();
    a.rows = &row;
    a.row_count = 1;
    a.heads = kHeads;
    a.mask = Mask::causal;
    a.scale = 0.125f;
    const Memory scratch = allocate(table_.attention_scratch(a, parallel_.threads));
    const std::string what = "attention tokens=" + std::to_string(tokens) +
                             " keys=" + std::to_string(keys) + " cache=" + dtype_name(dtype);
    if (what.find(options_.filter) == std::string::npos) return;
    const double seconds =
        shortest(parallel_, options_.seconds, [&] { table_.attention(launch(scratch.get()), a); });
    const double seen = static_cast<double>(tokens) *
                        (static_cast<double>(first) + static_cast<double>(tokens + 1) / 2);
    const double gflops = 4 * seen * kHeads * kWidth / seconds / 1e9;
    const double gbytes = static_cast<double>(keys * kKvHeads * kWidth * 2) *
                          static_cast<double>(dtype_size(dtype)) / seconds / 1e9;
    lines_.push_back({what, gflops, gflops / peaks_.f32, gbytes});
  }

  const std::vector<Line>& lines() const { return lines_; }

 private:
  Launch launch(void* scratch) const { return {parallel_, nullptr, scratch}; }

  void product(const PackedMatrix& matrix, std::int64_t rows, std::size_t bytes,
               const std::string& weight) {
    std::vector<float> x(static_cast<std::size_t>(rows * matrix.inputs), 0.25f);
    std::vector<float> out(static_cast<std::size_t>(rows * matrix.outputs));
    const LinearSegment segment = {matrix, nullptr, Activation::none, out.data(), matrix.outputs};
    const LinearArguments a = {x.data(),    matrix.inputs, rows,     matrix.inputs,
                               matrix.math, 1.0f,          &segment, 1};
    const Memory scratch = allocate(table_.linear_scratch(a, parallel_.threads));
    const std::string what = "linear " + std::to_string(matrix.outputs) + "x" +
                             std::to_string(matrix.inputs) + " M=" + std::to_string(rows) +
                             " weight=" + weight + " mode=" + math_name(matrix.math);
    if (what.find(options_.filter) == std::string::npos) return;
    const double seconds =
        shortest(parallel_, options_.seconds, [&] { table_.linear(launch(scratch.get()), a); });
    const double flops = 2.0 * static_cast<double>(rows * matrix.inputs * matrix.outputs);
    const double gflops = flops / seconds / 1e9;
    double most = peaks_.f32;
    if (matrix.math == MathMode::bf16 && peaks_.bf16 > 0) most = peaks_.bf16;
    if (matrix.math == MathMode::int8 && peaks_.int8 > 0) most = peaks_.int8;
    lines_.push_back({what, gflops, gflops / most, static_cast<double>(bytes) / seconds / 1e9});
  }

  const Options& options_;
  const KernelTable& table_;
  Parallel parallel_;
  Peaks peaks_;
  std::vector<Line> lines_;
};

int run(const Options& options) {
  const KernelTable* table = cpu_table(options.tier);
  if (table == nullptr) {
    std::cerr << "no such tier on this processor: " << options.tier << "\n";
    return 1;
  }
  ThreadPool pool(options.threads);
  Parallel parallel = pool.parallel();
  const Peaks peaks = measure_peaks(table->tier, parallel);
  const double rate = read_rate(parallel);
  Bench bench(options, *table, parallel, peaks);
  const std::int64_t shapes[][2] = {{2048, 2048}, {576, 1536}, {256, 688}};
  for (const auto& shape : shapes) {
    bench.linear(shape[0], shape[1], WeightFormat::f32, MathMode::f32);
    bench.linear(shape[0], shape[1], WeightFormat::bf16, MathMode::f32);
    bench.linear(shape[0], shape[1], WeightFormat::bf16, MathMode::bf16);
    for (const char* format : {"Q8_0", "Q4_0", "Q4_1", "Q4_K", "Q6_K"})
      if (shape[1] % find_block_format(format)->elements == 0)
        bench.codes(shape[0], shape[1], format);
  }
  bench.matmul(512);
  for (const DType dtype : {DType::f32, DType::bf16}) {
    bench.attention(512, 0, dtype);
    for (const std::int64_t keys : {128, 512, 1024, 2048, 8192})
      bench.attention(1, keys - 1, dtype);
  }
  print(options, table->tier, peaks, rate, bench.lines());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const bool has_value = i + 1 < argc;
    if (argument == "--json") {
      options.json = true;
    } else if (argument == "--threads" && has_value) {
      options.threads = std::atoi(argv[++i]);
    } else if (argument == "--tier" && has_value) {
      options.tier = argv[++i];
    } else if (argument == "--seconds" && has_value) {
      options.seconds = std::atof(argv[++i]);
    } else if (argument == "--filter" && has_value) {
      options.filter = argv[++i];
    } else {
      std::cerr << "usage: bench_kernels [--json] [--threads N] [--tier NAME] [--seconds S] "
                   "[--filter TEXT]\n";
      return 2;
    }
  }
  return run(options);
}
