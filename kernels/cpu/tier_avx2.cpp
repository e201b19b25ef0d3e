#define PERILUNE_TIER avx2
#include "kernels/cpu/vec_avx2.h"
//
#include "kernels/cpu/fast_table.h"

namespace perilune::kernels::avx2 {

const KernelTable& table() {
  static constexpr KernelTable kTable = make_table("avx2");
  return kTable;
}

}  // namespace perilune::kernels::avx2
