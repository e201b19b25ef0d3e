#define PERILUNE_TIER v2
#include "kernels/cpu/vec_v2.h"
//
#include "kernels/cpu/fast_table.h"

namespace perilune::kernels::v2 {

const KernelTable& table() {
  static constexpr KernelTable kTable = make_table("v2");
  return kTable;
}

}  // namespace perilune::kernels::v2
