// What kernels are given: where they run, and one structure of arguments for each entry of
// kernel_table.h.
//
// Kernels know pointers, sizes, strides and dtypes; no tensors, models, JSON or Lua. Arguments are
// checked by the caller; a kernel neither allocates nor fails. Sizes count elements unless a name
// says bytes. Rows of two-dimensional arguments may be strided, the last axis is contiguous.
//
// Numerics (all devices): one output value is summed in an order that depends on the weight's shape
// and on the value's own position only: never on the number of rows, threads, or chunks.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/coding.h"
#include "kernels/dtype.h"

namespace perilune::kernels {

/// Runs `task(state, index)` for every index in [0, tasks), in any order, perhaps at once.
struct Parallel {
  void* host = nullptr;
  void (*run)(void* host, std::int64_t tasks, void (*task)(void* state, std::int64_t index),
              void* state) = nullptr;
  int threads = 1;  // how many may run at once, for choosing task sizes
};

/// Where a kernel runs. `scratch` is what the entry's *_scratch function asked for, 64-byte
/// aligned.
struct Launch {
  Parallel parallel;
  void* stream = nullptr;
  void* scratch = nullptr;
};

// ---------------------------------------------------------------- weights

/// What the elements of a weight are: numbers, or the codes of a Coding.
enum class WeightFormat : std::uint8_t { f32, f16, bf16, coded };

/// What a product is made of. f32 widens weights; bf16 rounds activations (and f32 weights) to bf16
/// and sums in f32. int8, for coded weights only: each row of x is cut into kCodedBlock inputs that
/// are rounded to whole numbers x' of largest magnitude 127 times a = largest / 127; the products
/// of codes and x' of a group are summed exactly, and sum = fma(exact, scale * a, sum), then, with
/// minimums, sum = fma(minimum, a * (exact sum of x'), sum), group after group. A block that holds
/// an infinity or a NaN makes its row NaN.
enum class MathMode : std::uint8_t { f32, bf16, int8 };

constexpr const char* math_name(MathMode math) {
  return math == MathMode::f32 ? "f32" : (math == MathMode::bf16 ? "bf16" : "int8");
}

/// A matrix packed for this table: outputs interleaved in panels, inputs ascending. Opaque to
/// callers.
struct PackedMatrix {
  const void* data = nullptr;
  const Coding* coding = nullptr;  // of coded weights; lives as long as the program
  std::int64_t outputs = 0;
  std::int64_t inputs = 0;
  WeightFormat format = WeightFormat::f32;  // of the packed elements
  MathMode math = MathMode::f32;
  /// Of codes: packed input k is input input_order[k]; null: in order. Lives as long as the matrix.
  const std::int32_t* input_order = nullptr;
};

struct PackArguments {
  const void* source;  // memory of the device; element (o, i) at source[o * output_stride + i *
                       // input_stride]
  WeightFormat source_format;
  std::int64_t output_stride, input_stride;
  std::int64_t outputs, inputs;
  MathMode math;
  void* destination;  // packed_bytes(...) bytes, 64-byte aligned
};

/// Rows of stored blocks, `row_bytes` apart, each of format.row_blocks(inputs) blocks.
struct PackCodedArguments {
  const std::uint8_t* source;  // memory of the device
  const BlockFormat* format;
  std::int64_t row_bytes;
  std::int64_t outputs, inputs;
  void* destination;  // coded_bytes(...) bytes, 64-byte aligned
};

/// Published names: gelu is the erf form, gelu_tanh the tanh approximation (gelu_new,
/// gelu_pytorch_tanh), gelu_10 gelu held within -10 and 10, quick_gelu x*sigmoid(1.702x), silu =
/// swish, relu2 relu(x)^2, relu6 relu(x) up to 6, leaky_relu x or 0.01x, mish
/// x*tanh(log(1 + exp(x))) (Misra 2019, arXiv:1908.08681), laplace the distribution function of a
/// normal one, (1 + erf((x - 0.707107) / (0.282095 sqrt(2)))) / 2 (Ma et al. 2022,
/// arXiv:2209.10655).
enum class Activation : std::uint8_t {
  none,
  gelu,
  gelu_tanh,
  quick_gelu,
  relu,
  silu,
  tanh,
  sigmoid,
  gelu_10,
  relu2,
  relu6,
  leaky_relu,
  mish,
  laplace
};

/// 1 / (0.282095 sqrt(2)), of Activation::laplace.
inline constexpr float kLaplaceScale = 2.5066264f;

/// One weight of a product; several may share the input and are computed in one go.
struct LinearSegment {
  PackedMatrix weight;
  const float* bias;  // [outputs] or null
  Activation activation;
  float* out;  // [row, outputs]
  std::int64_t out_stride;
};

/// Where a table fuses_products, products know their input's squares from the product that made it:
/// sums of this many adjacent elements each, where a row is a whole number of them and not longer
/// than kMostSquared.
inline constexpr std::int64_t kSquared = 16, kMostSquared = 16384;

/// What a product does beside, with the bits that other entries give; only where the table
/// fuses_products. All of its segments then have one arithmetic.
struct LinearFusion {
  /// x is first what rms_norm makes of it. `squares_of_x` [row, inputs / kSquared] is what the
  /// product that made x left in `squares`; null: it is not known.
  bool norm = false;
  const float* norm_weight = nullptr;  // [input] or null (1)
  float norm_offset = 0, norm_epsilon = 0;
  const float* squares_of_x = nullptr;
  /// Two segments of equal outputs; the first one's `out`, rows of which follow each other, gets
  /// its result times the other's.
  bool gated = false;
  /// [row, output], rows apart as `out`'s: added to the one segment's results, after all else.
  const float* residual = nullptr;
  /// [row, outputs / kSquared], for squares_of_x of products of as many rows in the same
  /// arithmetic, and for nobody else: nothing is written where those look at x itself.
  float* squares = nullptr;
};

/// out[r, o] = activation(sum over i ascending of x[r, i] * weight[o, i], one accumulator from 0,
/// fused multiply-add; then * scale where scale != 1; then + bias[o]). With an input_order, which
/// all of the weights then have, the sum is in that order.
struct LinearArguments {
  const float* x;  // [row, input]
  std::int64_t x_stride, rows, inputs;
  MathMode math;
  float scale;
  const LinearSegment* segments;
  std::int64_t segment_count;
  const std::int32_t* input_order = nullptr;  // of the weights
  LinearFusion fusion = {};
};

/// out[r, :] = table[ids[r], :] * scale; table is packed as for linear ([vocab, hidden]). Ids are
/// in range.
struct EmbeddingArguments {
  float* out;  // [row, hidden]
  const std::int32_t* ids;
  std::int64_t rows;
  std::int64_t id_offset;  // added to each id
  PackedMatrix table;
  float scale;
};

// ---------------------------------------------------------------- norms, rope

/// Row by row over the last axis. layer_norm: (x - mean) / sqrt(variance + epsilon) * weight +
/// bias; rms_norm: x / sqrt(mean(x^2) + epsilon) * (weight + offset), mean and bias unused. With
/// `residual`, x is first replaced by x + residual, which is also written to `sum`.
struct NormArguments {
  float* out;  // [row, width]
  const float* x;
  std::int64_t out_stride, x_stride, rows, width;
  const float* weight;  // [width] or null (1)
  const float* bias;    // [width] or null (0)
  float offset;         // rms_norm: added to weight (1 for weights stored around 0)
  float epsilon;
  const float* residual;  // [row, width], stride x_stride, or null
  float* sum;             // [row, width], stride x_stride; with residual only
};

/// cos and sin of position * inverse_frequency[j], times attention_scale: [row, pairs] each.
/// Rows may use their own frequencies (dynamic rope): frequency_row[r] selects a row of
/// inverse_frequencies [variants, pairs]; null means row 0 for all.
struct RopeTableArguments {
  float* cosine;
  float* sine;
  const std::int32_t* positions;  // [row]
  std::int64_t rows, pairs;
  const float* inverse_frequencies;
  const std::int32_t* frequency_row;
  float attention_scale;
};

/// Rotary embedding (Su et al. 2021, arXiv:2104.09864) over the first 2*pairs of head_dim; the rest
/// is copied. interleaved: pairs (2j, 2j+1); else (j, j + pairs). out may be x.
struct RopeArguments {
  float* out;  // [row, head, head_dim], contiguous
  const float* x;
  const float* cosine;  // [row, pairs]
  const float* sine;
  std::int64_t rows, heads, head_dim, pairs;
  bool interleaved;
};

// ---------------------------------------------------------------- keys, values, attention

/// The numeric block of attention: partial results are made per block of this many positions,
/// counted from position 0, and merged in ascending order. Divides every page.
inline constexpr std::int64_t kKvBlock = 32;

/// One layer's keys and values inside a page, block by block:
///   keys   [block, kv_head, head_dim, kKvBlock]   (positions innermost)
///   values [block, kv_head, kKvBlock, head_dim]
/// with blocks = page_tokens / kKvBlock; keys first, values after them. Of i8, whole numbers of
/// largest magnitude 127, there follow the scales that they are times, f32, one for each position
/// and head: of keys [block, kv_head, kKvBlock], then of values.
struct KvLayout {
  DType dtype;  // f32, f16, bf16 or i8
  std::int64_t kv_heads, head_dim, page_tokens;
};

/// Bytes of one layer in one page (keys and values).
constexpr std::int64_t kv_layer_bytes(const KvLayout& layout) {
  const std::int64_t scale = layout.dtype == DType::i8 ? 4 : 0;
  return 2 * layout.page_tokens * layout.kv_heads *
         (layout.head_dim * static_cast<std::int64_t>(dtype_size(layout.dtype)) + scale);
}

/// One sequence of a step; host memory, page lists too, on every device. pages[p] + page_offset is
/// this layer's storage of positions [p * page_tokens, (p + 1) * page_tokens).
struct KvRow {
  void* const* pages;
  std::int64_t first_token;     // row of q (or k, v) where this sequence begins
  std::int64_t tokens;          // how many rows it has
  std::int64_t first_position;  // cache position of its first row
  std::int64_t key_count;  // keys stored when attention runs (first_position + tokens for self)
};

/// Rounds k and v to the cache's type and stores them at their positions. With cosine and sine, k
/// is rotated on the way (RopeArguments' formula).
struct KvWriteArguments {
  KvLayout layout;
  const float* k;  // [token, kv_head, head_dim], contiguous
  const float* v;
  const KvRow* rows;
  std::int64_t row_count;
  std::int64_t page_offset;  // bytes
  const float* cosine;       // [token, pairs] or null
  const float* sine;
  std::int64_t pairs;
  bool interleaved;
  const void* device_rows = nullptr;  // `rows` as kv_rows_stage wrote them, in device memory
  // Queries of the same tokens, turned by the same angles; where the table turns_queries.
  const float* q = nullptr;  // [token, head, head_dim], contiguous, or null
  float* q_out = nullptr;    // the same form, not q
  std::int64_t heads = 0;
};

enum class Mask : std::uint8_t { none, causal };

/// Attention from new tokens to stored keys, grouped heads (Ainslie et al. 2023, arXiv:2305.13245),
/// online softmax (Milakov & Gimelshein 2018, arXiv:1805.02867). Scores: dot(q, k) * scale,
/// softcap,
/// + relative bias, mask. Query at cache position p sees keys j <= p (causal) and j > p - window;
/// not causal with a window: |p - j| < window. A row with nothing visible gives zeros.
/// Per KV block: maximum, sum, weighted values; merged ascending, per split of 8 blocks first.
struct AttentionArguments {
  KvLayout layout;
  float* out;      // [token, head, head_dim], contiguous
  const float* q;  // [token, head, head_dim], contiguous
  const KvRow* rows;
  std::int64_t row_count;
  std::int64_t page_offset;
  std::int64_t heads;
  Mask mask;
  std::int64_t window;  // 0: none
  float scale;
  float softcap;  // 0: none; else softcap * tanh(score / softcap)
  const float*
      relative_bias;  // [head, relative_count]: entry key - query - relative_first; or null
  std::int64_t relative_first, relative_count;
  const void* device_rows = nullptr;  // `rows` as kv_rows_stage wrote them, in device memory
};

/// The softmax itself, for tracing: weights [token, head, keys], zero where nothing is visible.
struct AttentionWeightsArguments {
  AttentionArguments attention;  // out unused
  float* weights;
  std::int64_t keys;
};

}  // namespace perilune::kernels
