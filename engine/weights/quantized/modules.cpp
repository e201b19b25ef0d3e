#include "engine/weights/quantized/modules.h"

#include <optional>

namespace perilune {
namespace {

/// What may follow a module's name, and which of these tell that it is quantized.
struct Suffixes {
  std::vector<std::string_view> markers, others;
};

Suffixes suffixes_of(QuantizedLayout layout) {
  switch (layout) {
    case QuantizedLayout::gptq:
    case QuantizedLayout::awq: return {{"qweight", "qzeros"}, {"scales", "g_idx"}};
    case QuantizedLayout::bitsandbytes:
      return {{"SCB", "weight.absmax", "weight.quant_map", "weight.nested_absmax",
               "weight.nested_quant_map", "weight.quant_state.bitsandbytes__nf4",
               "weight.quant_state.bitsandbytes__fp4"},
              {"weight", "weight_format"}};
    case QuantizedLayout::compressed_tensors: break;
  }
  return {{"weight_packed", "weight_scale", "weight_shape"},
          {"weight", "weight_zero_point", "weight_g_idx", "input_scale", "input_zero_point"}};
}

/// Whether `name` is MODULE.`part`, and then MODULE.
std::optional<std::string> module_of(const std::string& name, std::string_view part) {
  if (name.size() <= part.size() + 1 || !name.ends_with(part)) return std::nullopt;
  const std::size_t dot = name.size() - part.size() - 1;
  if (name[dot] != '.') return std::nullopt;
  return name.substr(0, dot);
}

}  // namespace

std::map<std::string, QuantizedParts> quantized_modules(const QuantizationConfig& config,
                                                        const std::vector<CheckpointEntry>& all) {
  std::map<std::string, QuantizedParts> modules;
  const Suffixes suffixes = suffixes_of(config.layout);
  const auto collect = [&](const std::vector<std::string_view>& parts, bool makes) {
    for (const CheckpointEntry& entry : all)
      for (const std::string_view part : parts) {
        const auto module = module_of(entry.tensor->name, part);
        if (!module) continue;
        const bool known = makes || modules.contains(*module);
        if (known)
          modules.try_emplace(*module, *module).first->second.add(std::string(part), entry);
      }
  };
  collect(suffixes.markers, true);
  collect(suffixes.others, false);
  return modules;
}

QuantizedMatrix read_quantized_module(const QuantizationConfig& config,
                                      const QuantizedParts& parts) {
  switch (config.layout) {
    case QuantizedLayout::gptq: return read_gptq(config, parts);
    case QuantizedLayout::awq: return read_awq(config, parts);
    case QuantizedLayout::bitsandbytes: return read_bitsandbytes(config, parts);
    case QuantizedLayout::compressed_tensors: break;
  }
  return read_compressed_tensors(config, parts);
}

bool is_quantized_part(const QuantizationConfig& config,
                       const std::map<std::string, QuantizedParts>& modules,
                       const std::string& name) {
  const Suffixes suffixes = suffixes_of(config.layout);
  for (const auto* parts : {&suffixes.markers, &suffixes.others})
    for (const std::string_view part : *parts) {
      const auto module = module_of(name, part);
      if (module && modules.contains(*module)) return true;
    }
  return false;
}

}  // namespace perilune
