// Element types of the tiers' sources, and what a tier file may contain.
//
// A tier file is compiled for processors that others lack, so nothing it compiles may be shared:
// all of it sits in the tier's namespace, inside an unnamed one, and it uses no function template
// or inline function from elsewhere that the linker could keep one copy of for everybody.
#pragma once

#include <cstdint>

#define PERILUNE_INLINE [[gnu::always_inline, maybe_unused]] inline

namespace perilune::kernels::PERILUNE_TIER {
namespace {

struct F16 {
  std::uint16_t bits;
};
struct Bf16 {
  std::uint16_t bits;
};
/// Two neighbouring inputs, the lower one in the low half.
struct Bf16Pair {
  std::uint32_t bits;
};

}  // namespace
}  // namespace perilune::kernels::PERILUNE_TIER
