// What a warp computes together. Fragment layouts: PTX ISA, "Matrix Fragments for mma.m16n8k16" and
// "m16n8k32", "ldmatrix", "movmatrix"; with g = lane / 4 and t = lane % 4 throughout.
#include <bit>
#include <cmath>
#include <cstring>

#include "kernels/cuda/emulator/block.h"
#include "kernels/dtype.h"

namespace perilune::kernels::cuda::emulator {
namespace {

using Warp = Thread* const[32];

bool holds(unsigned mask, int lane) {
  return (mask >> lane & 1u) != 0;
}

/// in: value (two words), the lane or distance asked for, the width of a segment.
std::string shuffle(Collective kind, unsigned mask, Warp& warp) {
  for (int lane = 0; lane < 32; ++lane) {
    if (!holds(mask, lane)) continue;
    Thread& thread = *warp[lane];
    const int asked = static_cast<int>(thread.in[2]), width = static_cast<int>(thread.in[3]);
    const int first = lane / width * width;
    int source = lane;
    if (kind == Collective::shuffle) source = first + (asked & (width - 1));
    if (kind == Collective::shuffle_up && lane - asked >= first) source = lane - asked;
    if (kind == Collective::shuffle_down && lane + asked < first + width) source = lane + asked;
    if (kind == Collective::shuffle_xor) source = lane ^ asked;
    if (kind == Collective::shuffle_xor && source >= first + width) source = lane;
    if (source < 0 || source > 31 || !holds(mask, source)) {
      return "lane " + std::to_string(lane) + " reads lane " + std::to_string(source) +
             ", which is not in the mask";
    }
    thread.out[0] = warp[source]->in[0];
    thread.out[1] = warp[source]->in[1];
  }
  return "";
}

void vote(Collective kind, unsigned mask, Warp& warp) {
  unsigned ballot = 0;
  for (int lane = 0; lane < 32; ++lane) {
    if (holds(mask, lane) && warp[lane]->in[0] != 0) ballot |= 1u << lane;
  }
  const unsigned result = kind == Collective::ballot ? ballot
                          : kind == Collective::any  ? ballot != 0
                                                     : ballot == mask;
  for (int lane = 0; lane < 32; ++lane) {
    if (holds(mask, lane)) warp[lane]->out[0] = result;
  }
}

std::uint32_t combine(Collective kind, std::uint32_t a, std::uint32_t b) {
  const auto x = static_cast<std::int32_t>(a), y = static_cast<std::int32_t>(b);
  switch (kind) {
    case Collective::add: return a + b;
    case Collective::minimum: return a < b ? a : b;
    case Collective::maximum: return a > b ? a : b;
    case Collective::minimum_signed: return static_cast<std::uint32_t>(x < y ? x : y);
    default: return static_cast<std::uint32_t>(x > y ? x : y);
  }
}

void reduce(Collective kind, unsigned mask, Warp& warp) {
  std::uint32_t result = 0;
  bool first = true;
  for (int lane = 0; lane < 32; ++lane) {
    if (!holds(mask, lane)) continue;
    result = first ? warp[lane]->in[0] : combine(kind, result, warp[lane]->in[0]);
    first = false;
  }
  for (int lane = 0; lane < 32; ++lane) {
    if (holds(mask, lane)) warp[lane]->out[0] = result;
  }
}

/// Element `column` of the eight in a row that a lane read.
std::uint16_t element(const Thread& row, int column) {
  return static_cast<std::uint16_t>(row.in[column / 2] >> (column % 2 * 16));
}

/// in: the row of eight elements that each lane read (rows of matrix m by lanes 8m to 8m + 7).
void load_matrix(bool transposed, Warp& warp) {
  for (int lane = 0; lane < 32; ++lane) {
    const int g = lane / 4, t = lane % 4;
    for (int m = 0; m < 4; ++m) {
      std::uint32_t low, high;
      if (transposed) {
        low = element(*warp[8 * m + 2 * t], g);
        high = element(*warp[8 * m + 2 * t + 1], g);
      } else {
        low = element(*warp[8 * m + g], 2 * t);
        high = element(*warp[8 * m + g], 2 * t + 1);
      }
      warp[lane]->out[m] = low | high << 16;
    }
  }
}

void transpose(Warp& warp) {
  std::uint16_t matrix[8][8];
  for (int lane = 0; lane < 32; ++lane) {
    matrix[lane / 4][lane % 4 * 2] = static_cast<std::uint16_t>(warp[lane]->in[0]);
    matrix[lane / 4][lane % 4 * 2 + 1] = static_cast<std::uint16_t>(warp[lane]->in[0] >> 16);
  }
  for (int lane = 0; lane < 32; ++lane) {
    const int g = lane / 4, t = lane % 4;
    warp[lane]->out[0] = matrix[2 * t][g] | static_cast<std::uint32_t>(matrix[2 * t + 1][g]) << 16;
  }
}

/// in: a[4], b[2], c[4]. c += a * b over k ascending, products exact, each sum rounded to f32: the
/// hardware's own order of sums is not published.
template <class Widen>
void multiply_16(Warp& warp, Widen widen) {
  float a[16][16], b[16][8];
  for (int lane = 0; lane < 32; ++lane) {
    const std::uint32_t* in = warp[lane]->in;
    const int g = lane / 4, t = lane % 4;
    for (int r = 0; r < 4; ++r) {
      const int row = g + r % 2 * 8, column = 2 * t + r / 2 * 8;
      a[row][column] = widen(static_cast<std::uint16_t>(in[r]));
      a[row][column + 1] = widen(static_cast<std::uint16_t>(in[r] >> 16));
    }
    for (int r = 0; r < 2; ++r) {
      b[2 * t + r * 8][g] = widen(static_cast<std::uint16_t>(in[4 + r]));
      b[2 * t + r * 8 + 1][g] = widen(static_cast<std::uint16_t>(in[4 + r] >> 16));
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    const int g = lane / 4, t = lane % 4;
    for (int r = 0; r < 4; ++r) {
      const int row = g + r / 2 * 8, column = 2 * t + r % 2;
      float sum = std::bit_cast<float>(warp[lane]->in[6 + r]);
      for (int k = 0; k < 16; ++k) sum = sum + a[row][k] * b[k][column];
      warp[lane]->out[r] = std::bit_cast<std::uint32_t>(sum);
    }
  }
}

void multiply_int8(Warp& warp) {
  int a[16][32], b[32][8];
  for (int lane = 0; lane < 32; ++lane) {
    const std::uint32_t* in = warp[lane]->in;
    const int g = lane / 4, t = lane % 4;
    for (int i = 0; i < 4; ++i) {
      const auto byte = [&](int word) { return static_cast<std::int8_t>(in[word] >> (8 * i)); };
      for (int r = 0; r < 4; ++r) a[g + r % 2 * 8][4 * t + i + r / 2 * 16] = byte(r);
      for (int r = 0; r < 2; ++r) b[4 * t + i + r * 16][g] = byte(4 + r);
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    const int g = lane / 4, t = lane % 4;
    for (int r = 0; r < 4; ++r) {
      auto sum = static_cast<std::int32_t>(warp[lane]->in[6 + r]);
      for (int k = 0; k < 32; ++k) sum += a[g + r / 2 * 8][k] * b[k][2 * t + r % 2];
      warp[lane]->out[r] = static_cast<std::uint32_t>(sum);
    }
  }
}

}  // namespace

const char* collective_name(Collective kind) {
  static const char* const kNames[] = {
      "nothing",           "__syncwarp",        "__shfl_sync",       "__shfl_up_sync",
      "__shfl_down_sync",  "__shfl_xor_sync",   "__ballot_sync",     "__any_sync",
      "__all_sync",        "__reduce_add_sync", "__reduce_min_sync", "__reduce_max_sync",
      "__reduce_min_sync", "__reduce_max_sync", "ldmatrix",          "ldmatrix.trans",
      "movmatrix",         "mma bf16",          "mma f16",           "mma s8"};
  return kNames[static_cast<int>(kind)];
}

std::string resolve(Collective kind, unsigned mask, Warp& warp) {
  switch (kind) {
    case Collective::none:
    case Collective::syncwarp: return "";
    case Collective::shuffle:
    case Collective::shuffle_up:
    case Collective::shuffle_down:
    case Collective::shuffle_xor: return shuffle(kind, mask, warp);
    case Collective::ballot:
    case Collective::any:
    case Collective::all: vote(kind, mask, warp); return "";
    case Collective::add:
    case Collective::minimum:
    case Collective::maximum:
    case Collective::minimum_signed:
    case Collective::maximum_signed: reduce(kind, mask, warp); return "";
    case Collective::load_matrix: load_matrix(false, warp); return "";
    case Collective::load_matrix_transposed: load_matrix(true, warp); return "";
    case Collective::transpose: transpose(warp); return "";
    case Collective::mma_bf16: multiply_16(warp, bf16_to_f32); return "";
    case Collective::mma_f16: multiply_16(warp, f16_to_f32); return "";
    case Collective::mma_int8: multiply_int8(warp); return "";
  }
  return "";
}

}  // namespace perilune::kernels::cuda::emulator
