// The stored parts of one quantized matrix.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/error.h"
#include "engine/files/tensor_file.h"
#include "engine/weights/quantized/config.h"

namespace perilune {

/// Stored tensors by what follows the module's name: "qweight", "weight.absmax".
class QuantizedParts {
 public:
  explicit QuantizedParts(std::string module) : module_(std::move(module)) {}

  const std::string& module() const { return module_; }
  void add(const std::string& part, const CheckpointEntry& entry) { parts_[part] = entry; }
  bool has(const std::string& part) const { return parts_.contains(part); }
  /// Throws Error(format) naming file and part where it is absent.
  const CheckpointEntry& get(const std::string& part) const;
  const std::vector<std::int64_t>& sizes(const std::string& part) const;
  /// One of them; there is one.
  const CheckpointEntry& any() const { return parts_.begin()->second; }

  /// Throws Error(format) unless the part has one of the types and these sizes (-1: any).
  void expect(const std::string& part, std::initializer_list<DType> dtypes,
              const std::vector<std::int64_t>& sizes) const;
  /// An error about a part: file, tensor, what it is, `problem`.
  Error wrong(const std::string& part, const std::string& problem) const;

  /// The part's elements. Floats of any type as f32; throws Error(format) naming the first that is
  /// not finite.
  std::vector<float> floats(const std::string& part) const;
  /// Integers of any type.
  std::vector<std::int32_t> integers(const std::string& part) const;
  std::vector<std::uint8_t> bytes(const std::string& part) const;

 private:
  std::string module_;
  std::map<std::string, CheckpointEntry> parts_;
};

/// A matrix in the terms that all layouts share: value = (code - zero) * scale, or levels[code] *
/// scale, or code * scale / 127, each scale and zero point for a group of inputs. Codes stay as
/// they are stored; rows of them are unpacked where they are needed, by any thread.
struct LoadedMatrix {
  std::vector<float> scales;        // [output, group], or [block] where flat_block is set
  std::vector<std::int16_t> zeros;  // as scales; empty: zero_of_all
  int zero_of_all = 0;
  /// Writes the codes of outputs [first, first + count): [output, input], input ascending.
  std::function<void(std::int64_t first, std::int64_t count, std::uint8_t* to)> codes;
};

/// What is known of a matrix before its codes are read.
struct QuantizedMatrix {
  std::string name;  // of the tensor that it becomes
  std::int64_t outputs = 0, inputs = 0;
  int bits = 4;
  std::int64_t groups = 1;             // of a row
  std::int64_t group_size = 0;         // inputs; of the last group perhaps fewer
  std::vector<std::int32_t> group_of;  // [input], where groups are not runs of group_size
  std::int64_t flat_block = 0;         // scales are for runs of elements, rows end to end
  const float* levels = nullptr;       // [16]
  std::shared_ptr<std::vector<float>> own_levels;  // where they are the file's own
  bool absmax = false;                             // scales are largest magnitudes, divided by 127
  bool has_zeros = false;
  bool narrow_scales = false;  // f16 holds them all
  std::function<LoadedMatrix()> load;
  std::string type;  // "GPTQ 4 bits", for messages
};

/// Reads the headers, scales, and small parts of one module, all checked. Throws Error(format |
/// unsupported) naming file, tensor, part and numbers.
QuantizedMatrix read_gptq(const QuantizationConfig& config, QuantizedParts parts);
QuantizedMatrix read_awq(const QuantizationConfig& config, QuantizedParts parts);
QuantizedMatrix read_bitsandbytes(const QuantizationConfig& config, QuantizedParts parts);
QuantizedMatrix read_compressed_tensors(const QuantizationConfig& config, QuantizedParts parts);

/// Whether f16 holds every one of the values exactly.
bool fit_f16(const std::vector<float>& values);

/// Number `index` of `bits` bits of a stream of little-endian words that lie `stride` apart.
inline std::uint32_t packed_number(const std::int32_t* words, std::int64_t stride, int bits,
                                   std::int64_t index) {
  const std::int64_t bit = index * bits, word = bit / 32, shift = bit % 32;
  std::uint64_t value = static_cast<std::uint32_t>(words[word * stride]);
  if (shift + bits > 32) {
    value |= static_cast<std::uint64_t>(static_cast<std::uint32_t>(words[(word + 1) * stride]))
             << 32;
  }
  return static_cast<std::uint32_t>(value >> shift) & ((1u << bits) - 1);
}

}  // namespace perilune
