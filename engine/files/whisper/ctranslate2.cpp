// CTranslate2's model.bin, little-endian, versions 4 to 6 (python/ctranslate2/specs/model_spec.py):
//   u32 version, text specification, u32 revision, u32 count,
//   count * { text name, u8 rank, u32 sizes[rank], u8 type, u32 bytes, data },
//   u32 count of aliases, count * { text alias, text name };    a text: u16 length, bytes, one 0.
// int8 and int16 weights have NAME_scale beside them: a stored number is round(value * scale).
#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <string_view>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/files/whisper/part_file.h"
#include "engine/files/whisper/whisper_file.h"

namespace perilune {

namespace {

constexpr std::uint32_t kFirstVersion = 4, kLastVersion = 6;
constexpr std::uint32_t kMostVariables = 1U << 16;
constexpr std::string_view kSpecification = "WhisperSpec";

/// A variable of the file.
struct Variable {
  std::vector<std::int64_t> sizes;
  const GgufTensorType* type = nullptr;
  std::uint64_t begin = 0, bytes = 0;
};
using Variables = std::map<std::string, Variable>;

std::string read_name(HeadReader& head) {
  std::string name = head.text(head.number<std::uint16_t>());
  if (name.empty() || name.back() != '\0') head.fail("a name does not end where it says");
  name.pop_back();
  if (name.find('\0') != std::string::npos) head.fail("a name has a zero inside");
  return name;
}

/// By the numbers that CTranslate2 gives its types.
const GgufTensorType* type_of(const HeadReader& head, std::uint8_t number) {
  constexpr std::uint32_t kOf[] = {0, 24, 25, 26, 1, 30};  // F32, I8, I16, I32, F16, BF16
  if (number >= std::size(kOf)) head.fail("type " + std::to_string(number) + " is not known");
  return gguf_tensor_type(kOf[number]);
}

Variables read_variables(HeadReader& head) {
  const std::uint32_t count = head.number<std::uint32_t>();
  if (count > kMostVariables) head.fail(std::to_string(count) + " variables are too many");
  Variables variables;
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::string name = read_name(head);
    Variable variable;
    const int rank = head.number<std::uint8_t>();
    for (int axis = 0; axis < rank; ++axis) {
      variable.sizes.push_back(head.number<std::uint32_t>());
    }
    variable.type = type_of(head, head.number<std::uint8_t>());
    variable.bytes = head.number<std::uint32_t>();
    variable.begin = head.at();
    const auto elements = rank > kernels::kMaxAxes ? std::nullopt : element_count(variable.sizes);
    if (!elements ||
        static_cast<std::uint64_t>(*elements) * variable.type->bytes != variable.bytes) {
      head.fail("variable \"" + name + "\": " + sizes_text(variable.sizes) + " of " +
                variable.type->name + " does not fit its " + std::to_string(variable.bytes) +
                " bytes");
    }
    head.skip(variable.bytes);
    if (!variables.emplace(name, std::move(variable)).second) {
      head.fail("variable \"" + name + "\" is there twice");
    }
  }
  return variables;
}

/// Names that stand for another variable.
std::map<std::string, std::string> read_aliases(HeadReader& head) {
  std::map<std::string, std::string> aliases;
  const std::uint32_t count = head.number<std::uint32_t>();
  if (count > kMostVariables) head.fail(std::to_string(count) + " aliases are too many");
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::string alias = read_name(head);
    aliases[alias] = read_name(head);
  }
  if (head.left() != 0) head.fail(std::to_string(head.left()) + " bytes come after its end");
  return aliases;
}

/// A module of theirs and what its outputs are divided into here, in order.
struct Module {
  std::string_view theirs;
  std::vector<std::string_view> ours;
};

const std::vector<Module>& layer_modules() {
  static const std::vector<Module> modules = {
      {"self_attention/layer_norm", {"self_attn_layer_norm"}},
      {"self_attention/linear_0", {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"}},
      {"self_attention/linear_1", {"self_attn.out_proj"}},
      {"attention/layer_norm", {"encoder_attn_layer_norm"}},
      {"attention/linear_0", {"encoder_attn.q_proj"}},
      {"attention/linear_1", {"encoder_attn.k_proj", "encoder_attn.v_proj"}},
      {"attention/linear_2", {"encoder_attn.out_proj"}},
      {"ffn/layer_norm", {"final_layer_norm"}},
      {"ffn/linear_0", {"fc1"}},
      {"ffn/linear_1", {"fc2"}},
  };
  return modules;
}

/// What lies at a variable: where in a module, as which of its tensors.
struct Place {
  std::string prefix;  // "encoder.layers.0."
  std::vector<std::string_view> modules;
  std::string_view tensor;  // "weight" or "bias"
};

std::optional<std::string_view> tensor_name(std::string_view end) {
  if (end == "weight" || end == "gamma" || end == "encodings") return "weight";
  if (end == "bias" || end == "beta") return "bias";
  return std::nullopt;
}

/// Nullopt for a variable that is no tensor of the published model: a number, a scale.
std::optional<Place> place_of(std::string_view name) {
  const std::size_t slash = name.rfind('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const auto tensor = tensor_name(name.substr(slash + 1));
  if (!tensor) return std::nullopt;
  const std::string_view path = name.substr(0, slash);
  static constexpr std::pair<std::string_view, std::string_view> kOutside[] = {
      {"encoder/conv1", "encoder.conv1"},
      {"encoder/conv2", "encoder.conv2"},
      {"encoder/layer_norm", "encoder.layer_norm"},
      {"encoder/position_encodings", "encoder.embed_positions"},
      {"decoder/embeddings", "decoder.embed_tokens"},
      {"decoder/layer_norm", "decoder.layer_norm"},
      {"decoder/position_encodings", "decoder.embed_positions"},
      {"decoder/projection", "proj_out"},
  };
  for (const auto& [theirs, ours] : kOutside) {
    if (path == theirs) return Place{"", {ours}, *tensor};
  }
  for (const std::string_view side : {std::string_view("encoder"), std::string_view("decoder")}) {
    const std::string begin = std::string(side) + "/layer_";
    if (!path.starts_with(begin)) continue;
    const std::size_t end = path.find('/', begin.size());
    if (end == std::string_view::npos) return std::nullopt;
    const std::string_view number = path.substr(begin.size(), end - begin.size());
    for (const Module& module : layer_modules()) {
      if (path.substr(end + 1) != module.theirs) continue;
      return Place{std::string(side) + ".layers." + std::string(number) + ".", module.ours,
                   *tensor};
    }
  }
  return std::nullopt;
}

std::vector<float> read_scales(const HeadReader& head, const Variables& variables,
                               const std::string& name, const Variable& variable) {
  const std::string_view type = variable.type->name;
  if (type != "I8" && type != "I16") return {};
  const auto found = variables.find(name + "_scale");
  if (found == variables.end()) head.fail("variable \"" + name + "\" has no scale beside it");
  const Variable& scale = found->second;
  const std::uint64_t count = scale.bytes / sizeof(float);
  const auto rows = static_cast<std::uint64_t>(variable.sizes.empty() ? 1 : variable.sizes[0]);
  if (scale.type->name != std::string_view("F32") || (count != 1 && count != rows)) {
    head.fail("variable \"" + name + "_scale\": expected a float32 for each of " +
              std::to_string(rows) + " rows");
  }
  std::vector<float> scales(count);
  head.read_at(scale.begin, scale.bytes, scales.data());
  if (std::any_of(scales.begin(), scales.end(), [](float s) { return !(s > 0) || s > 1e30F; })) {
    head.fail("variable \"" + name + "_scale\" has a scale that is not above 0");
  }
  return scales;
}

/// Adds a variable under its published names. Keys have no bias there; where it is fused it is 0.
void add_parts(PartFile& file, const HeadReader& head, const std::string& name,
               const Variable& variable, const Place& place, std::vector<float> scales) {
  const auto parts = static_cast<std::int64_t>(place.modules.size());
  const std::int64_t rows = variable.sizes.empty() ? 0 : variable.sizes[0];
  if (rows % parts != 0 || (parts > 1 && rows == 0)) {
    head.fail("variable \"" + name + "\": " + sizes_text(variable.sizes) + " has no " +
              std::to_string(parts) + " equal parts");
  }
  const bool fused_bias = parts > 1 && place.tensor == "bias";
  for (std::int64_t i = 0; i < parts; ++i) {
    const std::string_view module = place.modules[static_cast<std::size_t>(i)];
    if (fused_bias && module.ends_with("k_proj")) continue;
    std::vector<std::int64_t> sizes = variable.sizes;
    if (parts > 1) sizes[0] = rows / parts;
    StoredPart part{variable.type,
                    variable.begin + static_cast<std::uint64_t>(i) *
                                         (variable.bytes / static_cast<std::uint64_t>(parts)),
                    scales};
    if (scales.size() > 1 && parts > 1) {
      const auto first = scales.begin() + static_cast<std::ptrdiff_t>(i * rows / parts);
      part.scales.assign(first, first + static_cast<std::ptrdiff_t>(rows / parts));
    }
    file.add(place.prefix + std::string(module) + "." + std::string(place.tensor), std::move(sizes),
             std::move(part));
  }
}

/// A number that is stored as a variable without axes, as text.
std::optional<std::string> number_text(const HeadReader& head, const Variable& variable) {
  if (!variable.sizes.empty()) return std::nullopt;
  char raw[4] = {};
  head.read_at(variable.begin, variable.bytes, raw);
  const std::string_view type = variable.type->name;
  if (type == "I8") return std::to_string(static_cast<signed char>(raw[0]));
  std::int16_t narrow = 0;
  std::int32_t wide = 0;
  std::memcpy(&narrow, raw, sizeof narrow);
  std::memcpy(&wide, raw, sizeof wide);
  if (type == "I16") return std::to_string(narrow);
  if (type == "I32") return std::to_string(wide);
  return std::nullopt;
}

}  // namespace

bool is_ctranslate2_whisper(const std::string& path) {
  if (!file_exists(path)) return false;
  try {
    HeadReader head(path);
    const std::uint32_t version = head.number<std::uint32_t>();
    return version >= 1 && version < 256 && read_name(head) == kSpecification;
  } catch (const Error&) {
    return false;
  }
}

std::shared_ptr<const TensorFile> open_ctranslate2_whisper(const std::string& path) {
  HeadReader head(path);
  const std::uint32_t version = head.number<std::uint32_t>();
  if (version < kFirstVersion || version > kLastVersion) {
    throw Error(ErrorCode::unsupported, "load",
                path + ": CTranslate2 version " + std::to_string(version) + ", known are " +
                    std::to_string(kFirstVersion) + " to " + std::to_string(kLastVersion));
  }
  const std::string specification = read_name(head);
  if (specification != kSpecification) {
    throw Error(ErrorCode::unsupported, "load",
                path + ": a CTranslate2 model of \"" + specification + "\"; Whisper's are read");
  }
  head.skip(sizeof(std::uint32_t));  // its revision
  const Variables variables = read_variables(head);
  read_aliases(head);  // the projection is the embedding's; published files say so by a tie
  auto file = std::make_shared<PartFile>(head);
  file->note("format", "ctranslate2");
  for (const auto& [name, variable] : variables) {
    if (const auto place = place_of(name)) {
      add_parts(*file, head, name, variable, *place, read_scales(head, variables, name, variable));
    } else if (const auto number = number_text(head, variable)) {
      std::string key = name;
      std::replace(key.begin(), key.end(), '/', '.');
      file->note(key, *number);
    } else if (!name.ends_with("_scale")) {
      std::string what = path;
      what.append(": variable \"").append(name).append("\" is none of Whisper's");
      throw Error(ErrorCode::unsupported, "load", what);
    }
  }
  return file;
}

}  // namespace perilune
