// The tiers' sources compiled for sixteen lanes of plain C++, so that what the avx512 tier is made
// of is tested on processors that lack it.
#define PERILUNE_TIER wide
#include "kernels/kernel_table.h"
//
#include "tests/kernels/vec_wide.h"
//
#include "kernels/cpu/fast_table.h"

namespace perilune::kernels::wide {

const KernelTable& table();

const KernelTable& table() {
  static constexpr KernelTable kTable = make_table("wide");
  return kTable;
}

}  // namespace perilune::kernels::wide
