// What config.json says of a quantized checkpoint.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace perilune {

class Json;

enum class QuantizedLayout : std::uint8_t { gptq, awq, bitsandbytes, compressed_tensors };

/// quantization_config, as far as reading needs it. What a module's parts say themselves is not
/// asked for here.
struct QuantizationConfig {
  QuantizedLayout layout = QuantizedLayout::gptq;
  std::string place;  // "config.json: quantization_config", for messages
  std::int64_t bits = 4;
  std::optional<std::int64_t> group_size;  // inputs; -1: all of a row. Empty: the parts say
  bool stored_less_one = true;             // gptq: zero points are (format "gptq", not "gptq_v2")
  bool mixed = false;                      // modules may have other bits and groups
};

/// What the object says. `unnamed`: the quant_method where it names none; "": bitsandbytes where it
/// has that one's keys. Throws Error(format | unsupported) naming file, key and value.
QuantizationConfig parse_quantization_config(const Json& json, const std::string& unnamed = "");

/// The config of the model in `folder`: config.json's quantization_config, or the file that stood
/// beside it before (quantize_config.json of GPTQ, quant_config.json of AWQ). None where it is not
/// quantized (or is no folder).
std::optional<QuantizationConfig> read_quantization_config(const std::string& folder);

}  // namespace perilune
