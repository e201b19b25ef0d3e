// The GGML files of whisper.cpp, little-endian (models/convert-pt-to-ggml.py there):
//   u32 magic, i32 sizes[11]: vocab, audio {ctx, state, head, layer}, text {ctx, state, head,
//   layer}, mels, type; i32 mels, i32 bins, f32 bands[mels, bins];
//   i32 tokens, tokens * { u32 length, bytes };
//   until the end { i32 rank, i32 length, i32 type, i32 sizes[rank] (fastest first), name, data }.
#include <optional>
#include <string_view>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/files/gguf/dequantize.h"
#include "engine/files/whisper/part_file.h"
#include "engine/files/whisper/whisper_file.h"

namespace perilune {

namespace {

constexpr std::uint32_t kMagic = 0x67676d6c;
constexpr const char* kSizes[] = {"n_vocab",       "n_audio_ctx", "n_audio_state", "n_audio_head",
                                  "n_audio_layer", "n_text_ctx",  "n_text_state",  "n_text_head",
                                  "n_text_layer",  "n_mels",      "ftype"};
constexpr std::int32_t kMostSize = 1 << 24, kMostTokens = 1 << 20, kMostTokenBytes = 1 << 12,
                       kMostName = 256;

/// Numbers of the head, in the order of kSizes.
std::vector<std::int32_t> read_sizes(HeadReader& head) {
  if (head.number<std::uint32_t>() != kMagic) head.fail("is no GGML file");
  std::vector<std::int32_t> sizes;
  for (const char* name : kSizes) {
    sizes.push_back(head.number<std::int32_t>());
    const bool type = name == std::string_view("ftype");
    if (sizes.back() < (type ? 0 : 1) || sizes.back() > kMostSize) {
      head.fail(std::string(name) + " is " + std::to_string(sizes.back()));
    }
  }
  return sizes;
}

void skip_bands(HeadReader& head) {
  const auto mels = head.number<std::int32_t>(), bins = head.number<std::int32_t>();
  if (mels < 1 || bins < 1 || mels > kMostSize || bins > kMostSize) {
    head.fail("it has " + std::to_string(mels) + " mel bands of " + std::to_string(bins));
  }
  head.skip(static_cast<std::uint64_t>(mels) * static_cast<std::uint64_t>(bins) * sizeof(float));
}

std::vector<std::string> read_tokens(HeadReader& head) {
  const auto count = head.number<std::int32_t>();
  if (count < 1 || count > kMostTokens) head.fail("it has " + std::to_string(count) + " tokens");
  std::vector<std::string> tokens;
  for (std::int32_t i = 0; i < count; ++i) {
    const auto length = head.number<std::uint32_t>();
    if (length > static_cast<std::uint32_t>(kMostTokenBytes)) {
      head.fail("token " + std::to_string(i) + " has " + std::to_string(length) + " bytes");
    }
    tokens.push_back(head.text(length));
  }
  return tokens;
}

/// The published name of a tensor of OpenAI's; nullopt for one that is none of Whisper's.
std::optional<std::string> published_name(std::string_view name) {
  using Names = std::pair<std::string_view, std::string_view>;
  static constexpr Names kOutside[] = {
      {"encoder.positional_embedding", "encoder.embed_positions.weight"},
      {"decoder.positional_embedding", "decoder.embed_positions.weight"},
      {"encoder.conv1.weight", "encoder.conv1.weight"},
      {"encoder.conv1.bias", "encoder.conv1.bias"},
      {"encoder.conv2.weight", "encoder.conv2.weight"},
      {"encoder.conv2.bias", "encoder.conv2.bias"},
      {"encoder.ln_post.weight", "encoder.layer_norm.weight"},
      {"encoder.ln_post.bias", "encoder.layer_norm.bias"},
      {"decoder.ln.weight", "decoder.layer_norm.weight"},
      {"decoder.ln.bias", "decoder.layer_norm.bias"},
      {"decoder.token_embedding.weight", "decoder.embed_tokens.weight"},
  };
  static constexpr Names kInside[] = {
      {"attn.query", "self_attn.q_proj"},
      {"attn.key", "self_attn.k_proj"},
      {"attn.value", "self_attn.v_proj"},
      {"attn.out", "self_attn.out_proj"},
      {"attn_ln", "self_attn_layer_norm"},
      {"cross_attn.query", "encoder_attn.q_proj"},
      {"cross_attn.key", "encoder_attn.k_proj"},
      {"cross_attn.value", "encoder_attn.v_proj"},
      {"cross_attn.out", "encoder_attn.out_proj"},
      {"cross_attn_ln", "encoder_attn_layer_norm"},
      {"mlp.0", "fc1"},
      {"mlp.2", "fc2"},
      {"mlp_ln", "final_layer_norm"},
  };
  for (const auto& [theirs, ours] : kOutside) {
    if (name == theirs) return std::string(ours);
  }
  for (const std::string_view side : {std::string_view("encoder"), std::string_view("decoder")}) {
    const std::string begin = std::string(side) + ".blocks.";
    if (!name.starts_with(begin)) continue;
    const std::size_t dot = name.find('.', begin.size());
    const std::size_t last = name.rfind('.');
    if (dot == std::string_view::npos || last <= dot) return std::nullopt;
    for (const auto& [theirs, ours] : kInside) {
      if (name.substr(dot + 1, last - dot - 1) != theirs) continue;
      return std::string(side) + ".layers." +
             std::string(name.substr(begin.size(), dot - begin.size())) + "." + std::string(ours) +
             std::string(name.substr(last));
    }
  }
  return std::nullopt;
}

void read_tensor_head(HeadReader& head, PartFile& file) {
  const auto rank = head.number<std::int32_t>(), length = head.number<std::int32_t>();
  const auto number = head.number<std::uint32_t>();
  if (rank < 1 || rank > kernels::kMaxAxes || length < 1 || length > kMostName) {
    head.fail("a tensor with " + std::to_string(rank) + " axes and a name of " +
              std::to_string(length) + " bytes");
  }
  std::vector<std::int64_t> sizes(static_cast<std::size_t>(rank));
  for (auto size = sizes.rbegin(); size != sizes.rend(); ++size) {
    *size = head.number<std::int32_t>();
  }
  const std::string name = head.text(static_cast<std::size_t>(length));
  const auto published = published_name(name);
  if (!published) {
    throw Error(ErrorCode::unsupported, "load",
                head.path() + ": tensor \"" + name + "\" is none of Whisper's");
  }
  const GgufTensorType* type = gguf_tensor_type(number);
  const std::string_view type_name = type == nullptr ? "" : type->name;
  const bool plain = type_name == "F32" || type_name == "F16" || type_name == "BF16";
  if (type == nullptr || !(plain || is_quantized(*type))) {
    throw Error(ErrorCode::unsupported, "load",
                head.path() + ": tensor \"" + name + "\" is of type " + std::to_string(number));
  }
  const auto count = element_count(sizes);
  if (!count || sizes.back() % type->block != 0) {
    head.fail("tensor \"" + name + "\": " + sizes_text(sizes) + " cannot be of " + type->name);
  }
  const std::uint64_t begin = head.at();
  head.skip(static_cast<std::uint64_t>(*count) / type->block * type->bytes);
  // A bias of a convolution is stored as a column.
  if (sizes.size() == 2 && sizes[1] == 1 && published->ends_with(".bias")) sizes.pop_back();
  file.add(*published, std::move(sizes), {type, begin, {}});
}

}  // namespace

bool is_ggml_whisper(const std::string& path) {
  if (!file_exists(path)) return false;
  try {
    HeadReader head(path);
    const std::int32_t mels = read_sizes(head)[9];
    return head.number<std::int32_t>() == mels;  // the bands: what other old GGML files have not
  } catch (const Error&) {
    return false;
  }
}

std::shared_ptr<const TensorFile> open_ggml_whisper(const std::string& path) {
  HeadReader head(path);
  const std::vector<std::int32_t> sizes = read_sizes(head);
  skip_bands(head);
  read_tokens(head);
  auto file = std::make_shared<PartFile>(head);
  file->note("format", "ggml");
  for (std::size_t i = 0; i < sizes.size(); ++i) file->note(kSizes[i], std::to_string(sizes[i]));
  while (head.left() > 0) read_tensor_head(head, *file);
  return file;
}

GgmlWhisperTokens read_ggml_whisper_tokens(const std::string& path) {
  HeadReader head(path);
  const std::int32_t vocab = read_sizes(head)[0];
  skip_bands(head);
  return {read_tokens(head), vocab};
}

}  // namespace perilune
