// How far a decoder's rules may multiply text.
#pragma once

#include <cstddef>

namespace perilune {

/// What may be made of `given` bytes; as far as normalizers may go.
constexpr std::size_t most_decoded(std::size_t given) {
  return (std::size_t{1} << 20) + 64 * given;
}
/// Throws Error(length) where `made` bytes of `given` ones are more than that.
void check_growth(std::size_t made, std::size_t given);

}  // namespace perilune
