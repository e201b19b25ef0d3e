#include "engine/weights/quantized/config.h"

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/base/json.h"

namespace perilune {
namespace {

[[noreturn]] void unsupported(const QuantizationConfig& config, const std::string& what) {
  throw Error(ErrorCode::unsupported, "load", config.place + ": " + what);
}

/// The first of two names that is there: published tools spell some keys in two ways.
std::int64_t integer_of(const Json& json, const char* name, const char* other,
                        std::int64_t fallback) {
  return json.find_value(name) != nullptr ? json.integer(name) : json.integer(other, fallback);
}

void check_group(const QuantizationConfig& config) {
  const std::int64_t size = *config.group_size;
  if (size == -1 || (size >= 1 && size <= (std::int64_t{1} << 24))) return;
  throw Error(ErrorCode::format, "load",
              config.place + ": group_size " + std::to_string(size) +
                  " is neither -1 nor a number of inputs");
}

void read_gptq(const Json& json, QuantizationConfig& config) {
  config.bits = json.integer_in("bits", 1, 16);
  if (config.bits != 2 && config.bits != 3 && config.bits != 4 && config.bits != 8) {
    unsupported(config,
                "gptq with " + std::to_string(config.bits) + " bits; 2, 3, 4 and 8 are read");
  }
  config.group_size = json.integer("group_size", -1);
  check_group(config);
  const std::string format = json.string("checkpoint_format", "gptq");
  if (format != "gptq" && format != "gptq_v2") {
    unsupported(config, "checkpoint_format \"" + format + "\"; gptq and gptq_v2 are read");
  }
  config.stored_less_one = format == "gptq";
  const Json* dynamic = json.find_value("dynamic");
  config.mixed = dynamic != nullptr && !dynamic->empty();
}

void read_awq(const Json& json, QuantizationConfig& config) {
  config.layout = QuantizedLayout::awq;
  config.bits = integer_of(json, "bits", "w_bit", 4);
  if (config.bits != 4)
    unsupported(config, "awq with " + std::to_string(config.bits) + " bits; 4 are read");
  std::string version = json.string("version", "gemm");
  for (char& letter : version)
    letter = static_cast<char>(letter >= 'A' && letter <= 'Z' ? letter + 32 : letter);
  if (version != "gemm") unsupported(config, "awq version \"" + version + "\"; gemm is read");
  config.group_size = integer_of(json, "group_size", "q_group_size", 128);
  check_group(config);
}

void read_compressed(const Json& json, QuantizationConfig& config) {
  config.layout = QuantizedLayout::compressed_tensors;
  const std::string format = json.string("format", "");
  for (const char* known : {"pack-quantized", "int-quantized", "naive-quantized", "dense", ""}) {
    if (format == known) return;
  }
  unsupported(config, "format \"" + format + "\"; pack-quantized and int-quantized are read");
}

/// The method of a config that does not name one.
std::string unnamed_method(const Json& json) {
  // Before there was a quant_method, bitsandbytes was the only one.
  const bool bits = json.boolean("load_in_8bit", false) || json.boolean("load_in_4bit", false);
  return bits ? "bitsandbytes" : "";
}

/// Files of folders from before config.json said it, and whose they are.
struct OwnFile {
  const char* name;
  const char* method;
};
constexpr OwnFile kOwnFiles[] = {{"quantize_config.json", "gptq"}, {"quant_config.json", "awq"}};

}  // namespace

QuantizationConfig parse_quantization_config(const Json& json, const std::string& unnamed) {
  QuantizationConfig config;
  config.place = json.place();
  const std::string method =
      json.string("quant_method", unnamed.empty() ? unnamed_method(json) : unnamed);
  if (method == "gptq") {
    read_gptq(json, config);
  } else if (method == "awq") {
    read_awq(json, config);
  } else if (method == "bitsandbytes") {
    config.layout = QuantizedLayout::bitsandbytes;
  } else if (method == "compressed-tensors") {
    read_compressed(json, config);
  } else {
    unsupported(config, "quant_method \"" + method +
                            "\"; gptq, awq, bitsandbytes and compressed-tensors are read");
  }
  return config;
}

std::optional<QuantizationConfig> read_quantization_config(const std::string& folder) {
  const std::string path = join_path(folder, "config.json");
  if (!folder_exists(folder) || !file_exists(path)) return std::nullopt;
  const Json json = read_json(path);
  if (const Json* found = json.find_value("quantization_config")) {
    if (!found->is_object()) {
      throw Error(ErrorCode::format, "load", "config.json: quantization_config is not an object");
    }
    return parse_quantization_config(*found);
  }
  for (const OwnFile& own : kOwnFiles) {
    const std::string beside = join_path(folder, own.name);
    if (!file_exists(beside)) continue;
    const Json stands = read_json(beside);
    if (!stands.is_object()) {
      throw Error(ErrorCode::format, "load", std::string(own.name) + " is not an object");
    }
    return parse_quantization_config(stands, own.method);
  }
  return std::nullopt;
}

}  // namespace perilune
