// Stores keys and values in their pages, rounded to the cache's type; keys are rotated on the way
// by the formula of rope.
#include <cmath>

#include "kernels/cpu/kv.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/scalar.h"

namespace perilune::kernels::scalar {
namespace {

float as_it_is(float value) {
  return value;
}

/// One head's key to `out`, whose elements lie kKvBlock apart.
template <class Element, Element (*kRound)(float)>
void write_key(const KvWriteArguments& a, std::int64_t token, const float* k, Element* out) {
  const std::int64_t pairs = a.cosine == nullptr ? 0 : a.pairs;
  const std::int64_t apart = a.interleaved ? 1 : pairs, step = a.interleaved ? 2 : 1;
  for (std::int64_t j = 0; j < pairs; ++j) {
    const float cosine = a.cosine[token * pairs + j], sine = a.sine[token * pairs + j];
    const std::int64_t p = j * step, q = p + apart;
    out[p * kKvBlock] = kRound(k[p] * cosine - k[q] * sine);
    out[q * kKvBlock] = kRound(k[q] * cosine + k[p] * sine);
  }
  for (std::int64_t d = 2 * pairs; d < a.layout.head_dim; ++d) out[d * kKvBlock] = kRound(k[d]);
}

/// Number `d` of a head's key, rotated as write_key does.
float rotated(const KvWriteArguments& a, std::int64_t token, const float* k, std::int64_t d) {
  const std::int64_t pairs = a.cosine == nullptr ? 0 : a.pairs;
  if (d >= 2 * pairs) return k[d];
  const std::int64_t j = a.interleaved ? d / 2 : d % pairs;
  const bool second = a.interleaved ? d % 2 == 1 : d >= pairs;
  const std::int64_t apart = a.interleaved ? 1 : pairs;
  const float cosine = a.cosine[token * pairs + j], sine = a.sine[token * pairs + j];
  return second ? k[d] * cosine + k[d - apart] * sine : k[d] * cosine - k[d + apart] * sine;
}

/// `count` floats as whole numbers of largest magnitude 127 times *scale. Too small to divide by:
/// zeros. With an infinity or a NaN *scale is NaN.
template <class Value>
void write_whole(const Value& value, std::int64_t count, std::int8_t* out, std::int64_t apart,
                 float* scale) {
  constexpr float kLeast = 1e-30f;
  float largest = 0;
  bool finite = true;
  for (std::int64_t i = 0; i < count; ++i) {
    const float magnitude = std::fabs(value(i));
    finite = finite && std::isfinite(magnitude);
    if (magnitude > largest) largest = magnitude;
  }
  const bool rounds = finite && largest >= kLeast;
  *scale = finite ? (rounds ? largest / 127.0f : 0.0f) : NAN;
  const float factor = rounds ? 127.0f / largest : 0.0f;
  for (std::int64_t i = 0; i < count; ++i)
    out[i * apart] =
        rounds ? static_cast<std::int8_t>(std::nearbyint(value(i) * factor)) : std::int8_t{0};
}

void write_whole_token(const KvWriteArguments& a, const KvRow& row, std::int64_t index) {
  const KvLayout& layout = a.layout;
  const std::int64_t token = row.first_token + index, position = row.first_position + index;
  char* layer = kv_page(layout, row, a.page_offset, position);
  auto* codes = reinterpret_cast<std::int8_t*>(layer);
  const std::int64_t slot = position % kKvBlock, width = layout.head_dim;
  for (std::int64_t head = 0; head < layout.kv_heads; ++head) {
    const std::int64_t at = (token * layout.kv_heads + head) * width;
    auto* scales =
        reinterpret_cast<float*>(layer + key_scales_offset(layout, position, head)) + slot;
    write_whole([&](std::int64_t d) { return rotated(a, token, a.k + at, d); }, width,
                codes + key_block_offset(layout, position, head) + slot, kKvBlock, scales);
    write_whole([&](std::int64_t d) { return a.v[at + d]; }, width,
                codes + value_block_offset(layout, position, head) + slot * width, 1,
                scales + value_scales_apart(layout));
  }
}

template <class Element, Element (*kRound)(float)>
void write_token(const KvWriteArguments& a, const KvRow& row, std::int64_t index) {
  const KvLayout& layout = a.layout;
  const std::int64_t token = row.first_token + index, position = row.first_position + index;
  Element* page = reinterpret_cast<Element*>(kv_page(layout, row, a.page_offset, position));
  const std::int64_t slot = position % kKvBlock;
  for (std::int64_t head = 0; head < layout.kv_heads; ++head) {
    const std::int64_t at = (token * layout.kv_heads + head) * layout.head_dim;
    write_key<Element, kRound>(a, token, a.k + at,
                               page + key_block_offset(layout, position, head) + slot);
    Element* values = page + value_block_offset(layout, position, head) + slot * layout.head_dim;
    for (std::int64_t d = 0; d < layout.head_dim; ++d) values[d] = kRound(a.v[at + d]);
  }
}

template <class Element, Element (*kRound)(float)>
void write_rows(const Launch& launch, const KvWriteArguments& a) {
  const std::int64_t per_task = 1 + 8192 / (a.layout.kv_heads * a.layout.head_dim + 1);
  for (std::int64_t r = 0; r < a.row_count; ++r)
    parallel_ranges(launch, a.rows[r].tokens, per_task, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) write_token<Element, kRound>(a, a.rows[r], i);
    });
}

void write_whole_rows(const Launch& launch, const KvWriteArguments& a) {
  const std::int64_t per_task = 1 + 8192 / (a.layout.kv_heads * a.layout.head_dim + 1);
  for (std::int64_t r = 0; r < a.row_count; ++r)
    parallel_ranges(launch, a.rows[r].tokens, per_task, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) write_whole_token(a, a.rows[r], i);
    });
}

}  // namespace

void kv_write(const Launch& launch, const KvWriteArguments& a) {
  switch (a.layout.dtype) {
    case DType::f16: return write_rows<std::uint16_t, f32_to_f16>(launch, a);
    case DType::bf16: return write_rows<std::uint16_t, f32_to_bf16>(launch, a);
    case DType::i8: return write_whole_rows(launch, a);
    default: return write_rows<float, as_it_is>(launch, a);
  }
}

}  // namespace perilune::kernels::scalar
