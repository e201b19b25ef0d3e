#if defined(__GNUC__) && !defined(__clang__)
// GCC 12 takes its own _mm512_undefined_ps() for a mistake (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#define PERILUNE_TIER avx512
#include "kernels/cpu/vec_avx512.h"
//
#include "kernels/cpu/fast_table.h"

namespace perilune::kernels::avx512 {

const KernelTable& table() {
  static constexpr KernelTable kTable = make_table("avx512");
  return kTable;
}

}  // namespace perilune::kernels::avx512
