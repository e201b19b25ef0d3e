// Chooses a table by what the processor and the operating system offer.
#include <cpuid.h>

#include <cstdint>
#include <cstring>

#include "kernels/cpu/scalar.h"
#include "kernels/cpu/tiers.h"

namespace perilune::kernels {
namespace {

struct Registers {
  unsigned a = 0, b = 0, c = 0, d = 0;
};

Registers cpuid(unsigned leaf, unsigned subleaf) {
  Registers r;
  if (__get_cpuid_count(leaf, subleaf, &r.a, &r.b, &r.c, &r.d) == 0) return {};
  return r;
}

/// Which register states the operating system saves (XCR0); 0 when it does not say.
std::uint64_t saved_states() {
  constexpr unsigned kOsXsave = 1u << 27;
  if ((cpuid(1, 0).c & kOsXsave) == 0) return 0;
  unsigned low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<std::uint64_t>(high) << 32) | low;
}

constexpr bool has_all(std::uint64_t value, std::uint64_t bits) {
  return (value & bits) == bits;
}
constexpr unsigned bit(int index) {
  return 1u << index;
}

/// SSE3, SSSE3, CMPXCHG16B, SSE4.1, SSE4.2, POPCNT; LAHF in 64-bit mode.
bool has_v2() {
  return has_all(cpuid(1, 0).c, bit(0) | bit(9) | bit(13) | bit(19) | bit(20) | bit(23)) &&
         has_all(cpuid(0x80000001, 0).c, bit(0));
}

/// What -march=x86-64-v3 may use: FMA, MOVBE, AVX, F16C; BMI1, AVX2, BMI2; LZCNT; saved YMM.
bool has_avx2() {
  return has_v2() && has_all(cpuid(1, 0).c, bit(12) | bit(22) | bit(28) | bit(29)) &&
         has_all(cpuid(7, 0).b, bit(3) | bit(5) | bit(8)) &&
         has_all(cpuid(0x80000001, 0).c, bit(5)) && has_all(saved_states(), 0x6);
}

/// AVX512 F, DQ, CD, BW, VL; VNNI; BF16; saved ZMM and mask registers.
bool has_avx512() {
  return has_avx2() && has_all(cpuid(7, 0).b, bit(16) | bit(17) | bit(28) | bit(30) | bit(31)) &&
         has_all(cpuid(7, 0).c, bit(11)) && has_all(cpuid(7, 1).a, bit(5)) &&
         has_all(saved_states(), 0xe6);
}

bool has_any() {
  return true;
}

struct Tier {
  const char* name;
  bool (*available)();
  const KernelTable& (*table)();
};
constexpr Tier kTiers[] = {{"scalar", has_any, scalar::table},
                           {"v2", has_v2, v2::table},
                           {"avx2", has_avx2, avx2::table},
                           {"avx512", has_avx512, avx512::table}};
constexpr int kTierCount = sizeof(kTiers) / sizeof(kTiers[0]);

}  // namespace

const KernelTable* cpu_table(const char* name) {
  for (int i = kTierCount - 1; i >= 0; --i) {
    const bool wanted = name == nullptr || std::strcmp(name, kTiers[i].name) == 0;
    if (wanted && kTiers[i].available()) return &kTiers[i].table();
  }
  return nullptr;
}

const char* cpu_tier_name(int index) {
  return index >= 0 && index < kTierCount ? kTiers[index].name : nullptr;
}

}  // namespace perilune::kernels
