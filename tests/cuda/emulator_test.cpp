// The emulator finds what a GPU would not forgive, and computes what a GPU computes.
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <random>

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/emulator/order.h"
#include "tests/catch.h"
#include "tests/cuda/planted.h"

using namespace perilune::kernels;
using namespace perilune::kernels::cuda;

namespace {

constexpr emulator::Order kOrders[] = {emulator::Order::forward, emulator::Order::reverse,
                                       emulator::Order::shuffled};

std::string run(const LaunchConfig& config, const std::function<void()>& kernel) {
  Stream stream;
  emulator::run(stream, "kernel", config, kernel);
  return stream.status == 0 ? "" : stream.message;
}

}  // namespace

TEST_CASE("each planted bug is found, and its correction passes, in every order") {
  for (const emulator::Order order : kOrders) {
    emulator::set_order(order, 7);
    for (const planted::Case& each : planted::cases()) {
      INFO(each.name << ", order " << static_cast<int>(order));
      const std::string fault = planted::run(each.name);
      INFO(fault);
      if (each.expected.empty()) {
        CHECK(fault.empty());
      } else {
        CHECK(fault.find(each.expected) != std::string::npos);
        CHECK(fault.find("planted: block (") == 0);
      }
    }
  }
  emulator::set_order(emulator::Order::forward);
}

TEST_CASE("a store past a global buffer is AddressSanitizer's to find") {
  const char* sanitizers = std::getenv("PERILUNE_SANITIZE");
  if (sanitizers == nullptr || std::string(sanitizers).find("address") == std::string::npos) {
    WARN("skipped: not built with AddressSanitizer");
    return;
  }
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    close(2);
    planted::store_out_of_bounds();
    _exit(0);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(status != 0);
}

TEST_CASE("a fault stays in its stream, and later launches do nothing") {
  Stream stream;
  Launch on;
  on.stream = &stream;
  emulator::run(stream, "first", {1, 33}, [] { __shfl_sync(1u, 1, 0); });
  REQUIRE(stream.status != 0);
  const std::string first = stream.message;
  CHECK(first.find("first: block (0, 0, 0)") == 0);
  bool ran = false;
  emulator::run(stream, "refused", {1, 2048}, [&] { ran = true; });
  CHECK(first == stream.message);
  CHECK_FALSE(ran);
}

TEST_CASE("launches that no GPU takes are refused") {
  const auto nothing = [] {};
  CHECK(run({1, 1025}, nothing).find("too many threads") != std::string::npos);
  CHECK(run({1, dim3(1, 1, 65)}, nothing).find("too many threads") != std::string::npos);
  CHECK(run({dim3(1, 70000), 1}, nothing).find("grid") != std::string::npos);
  CHECK(run({1, 1, 200 << 10}, nothing).find("shared memory") != std::string::npos);
}

TEST_CASE("indices, votes, shuffles and reductions") {
  for (const emulator::Order order : kOrders) {
    emulator::set_order(order, 3);
    std::vector<int> seen(2 * 3 * 64, 0);
    CHECK(run({dim3(2, 3), dim3(8, 4, 2)}, [&] {
            const unsigned thread = threadIdx.x + 8 * (threadIdx.y + 4 * threadIdx.z);
            seen[thread + 64 * (blockIdx.x + 2 * blockIdx.y)] += 1;
            CHECK(blockDim.x * blockDim.y * blockDim.z == 64);
          }) == "");
    CHECK(seen == std::vector<int>(seen.size(), 1));
    CHECK(run({1, 64}, [&] {
            const int lane = static_cast<int>(threadIdx.x) % 32;
            CHECK(__shfl_sync(kFullMask, lane * 10, 5) == 50);
            CHECK(__shfl_up_sync(kFullMask, lane, 3) == (lane < 3 ? lane : lane - 3));
            CHECK(__shfl_down_sync(kFullMask, lane, 3, 8) == (lane % 8 > 4 ? lane : lane + 3));
            CHECK(__shfl_xor_sync(kFullMask, 0.5 * lane, 16) == 0.5 * (lane ^ 16));
            CHECK(__ballot_sync(kFullMask, lane % 2) == 0xaaaaaaaau);
            CHECK(__any_sync(kFullMask, lane == 31) == 1);
            CHECK(__all_sync(kFullMask, lane < 31) == 0);
            CHECK(__reduce_add_sync(kFullMask, static_cast<unsigned>(lane)) == 496u);
            CHECK(__reduce_min_sync(kFullMask, lane - 5) == -5);
            CHECK(__reduce_max_sync(kFullMask, lane - 40) == -9);
            if (lane < 8) CHECK(__reduce_add_sync(0xffu, 1u) == 8u);
          }) == "");
  }
  emulator::set_order(emulator::Order::forward);
}

// Matrices are laid out by the tables of the PTX ISA, and multiplied with plain loops.
TEST_CASE("mma and ldmatrix fragments hold what the PTX ISA says") {
  std::mt19937 random(5);
  const auto small = [&] { return static_cast<float>(static_cast<int>(random() % 17) - 8); };
  std::array<std::array<float, 16>, 16> a;
  std::array<std::array<float, 8>, 16> b;
  std::array<std::array<float, 8>, 16> c;
  for (auto& row : a)
    for (float& x : row) x = small();
  for (auto& row : b)
    for (float& x : row) x = small();
  for (auto& row : c)
    for (float& x : row) x = small();
  std::array<std::array<float, 8>, 16> out;
  CHECK(run({1, 32, shared_bytes<bf16>(256) + shared_bytes<bf16>(128)}, [&] {
          SharedArena arena;
          auto left = arena.take<bf16>(256);
          auto right = arena.take<bf16>(128);
          const int lane = static_cast<int>(threadIdx.x), g = lane / 4, t = lane % 4;
          for (int i = lane; i < 256; i += 32) left[i] = to_bf16(a[i / 16][i % 16]);
          for (int i = lane; i < 128; i += 32) right[i] = to_bf16(b[i / 8][i % 8]);
          __syncwarp();
          std::uint32_t af[4], bf[4];
          // Matrices of A in register order: rows 0-7, rows 8-15, then the right half of K.
          ptx::load_matrix_x4(af, left, (lane % 16) * 16 + lane / 16 * 8);
          // B is stored by k, so its fragments come transposed.
          ptx::load_matrix_x4_transposed(bf, right, (lane % 16) * 8);
          CHECK(af[2] == pack_bf16(a[g][2 * t + 8], a[g][2 * t + 9]));
          const std::uint32_t b2[2] = {bf[0], bf[1]};
          CHECK(b2[1] == pack_bf16(b[2 * t + 8][g], b[2 * t + 9][g]));
          CHECK(ptx::transpose_8x8(pack_bf16(b[g][2 * t], b[g][2 * t + 1])) == bf[0]);
          float sums[4] = {c[g][2 * t], c[g][2 * t + 1], c[g + 8][2 * t], c[g + 8][2 * t + 1]};
          ptx::mma_bf16(sums, af, b2);
          for (int r = 0; r < 4; ++r) out[g + r / 2 * 8][2 * t + r % 2] = sums[r];
        }) == "");
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 8; ++column) {
      float sum = c[row][column];
      for (int k = 0; k < 16; ++k) sum += a[row][k] * b[k][column];
      CHECK(out[row][column] == sum);
    }
  }
}

TEST_CASE("mma of bytes and of halves") {
  std::array<std::array<int, 32>, 16> a;
  std::array<std::array<int, 8>, 32> b;
  std::mt19937 random(6);
  for (auto& row : a)
    for (int& x : row) x = static_cast<int>(random() % 256) - 128;
  for (auto& row : b)
    for (int& x : row) x = static_cast<int>(random() % 256) - 128;
  CHECK(run({1, 32}, [&] {
          const int lane = static_cast<int>(threadIdx.x), g = lane / 4, t = lane % 4;
          const auto bytes = [](int x0, int x1, int x2, int x3) {
            return (static_cast<unsigned>(x0) & 255u) | (static_cast<unsigned>(x1) & 255u) << 8 |
                   (static_cast<unsigned>(x2) & 255u) << 16 |
                   (static_cast<unsigned>(x3) & 255u) << 24;
          };
          std::uint32_t af[4], bf[2];
          for (int r = 0; r < 4; ++r) {
            const auto& row = a[static_cast<std::size_t>(g + r % 2 * 8)];
            const int k = 4 * t + r / 2 * 16;
            af[r] = bytes(row[k], row[k + 1], row[k + 2], row[k + 3]);
          }
          for (int r = 0; r < 2; ++r) {
            const int k = 4 * t + r * 16;
            bf[r] = bytes(b[k][g], b[k + 1][g], b[k + 2][g], b[k + 3][g]);
          }
          int sums[4] = {0, 0, 0, 0};
          ptx::mma_int8(sums, af, bf);
          for (int r = 0; r < 4; ++r) {
            int expected = 0;
            for (int k = 0; k < 32; ++k) expected += a[g + r / 2 * 8][k] * b[k][2 * t + r % 2];
            CHECK(sums[r] == expected);
          }
          const std::uint32_t ones[4] = {0x3c003c00u, 0x3c003c00u, 0x3c003c00u, 0x3c003c00u};
          const std::uint32_t twos[2] = {0x40004000u, 0x40004000u};
          float half[4] = {0.5f, 0, 0, 0};
          ptx::mma_f16(half, ones, twos);
          CHECK(half[0] == 32.5f);
          CHECK(half[3] == 32.0f);
        }) == "");
}
