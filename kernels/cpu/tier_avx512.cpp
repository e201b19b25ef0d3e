#if defined(__GNUC__) && !defined(__clang__)
// GCC 12 takes its own _mm512_undefined_ps() for a mistake (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <cpuid.h>

#define PERILUNE_TIER avx512
#include "kernels/cpu/vec_avx512.h"
//
#include "kernels/cpu/fast_table.h"

namespace perilune::kernels::avx512 {

namespace {

/// AMD's processors multiply pairs of bf16 at twice the rate of f32, Intel's at half of it
/// (measured; docs/performance.md).
bool dots_are_fast() {
  unsigned most = 0, b = 0, c = 0, d = 0;
  constexpr unsigned kAuthentic = 0x68747541;  // "Auth"
  return __get_cpuid(0, &most, &b, &c, &d) != 0 && b == kAuthentic;
}

}  // namespace

const KernelTable& table() {
  static const KernelTable kTable = [] {
    KernelTable made = make_table("avx512");
    made.fast_bf16 = dots_are_fast();
    return made;
  }();
  return kTable;
}

}  // namespace perilune::kernels::avx512
