#include "engine/text/decode/piece_decoder.h"

#include <functional>

#include "engine/base/error.h"
#include "engine/base/utf8.h"
#include "engine/text/decode/growth.h"
#include "engine/text/decode/piece_steps.h"
#include "engine/text/pattern/step_list.h"

namespace perilune {
namespace {

using Strings = std::vector<std::string>;

using Steps = std::vector<std::unique_ptr<DecoderRecipe>>;

/// A recipe that makes one kind of step.
class StepRecipe final : public DecoderRecipe {
 public:
  using Make = std::function<std::unique_ptr<PieceDecoder>()>;
  explicit StepRecipe(Make make) : make_(std::move(make)) {}
  std::unique_ptr<PieceDecoder> make() const override { return make_(); }

 private:
  Make make_;
};

std::unique_ptr<DecoderRecipe> recipe(StepRecipe::Make make) {
  return std::make_unique<StepRecipe>(std::move(make));
}

/// Steps one after the other; what they make of a text is bounded by its pieces' bytes.
class Chain final : public PieceDecoder {
 public:
  explicit Chain(std::vector<std::unique_ptr<PieceDecoder>> steps) : steps_(std::move(steps)) {}

  void push(std::string piece, Strings& out) override {
    given_ += piece.size();
    Strings given{std::move(piece)};
    pass(0, std::move(given), out);
  }
  void finish(Strings& out) override {
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      Strings given;
      steps_[i]->finish(given);
      pass(i + 1, std::move(given), out);
    }
  }

 private:
  void pass(std::size_t from, Strings given, Strings& out) {
    for (std::size_t i = from; i < steps_.size() && !given.empty(); ++i) {
      Strings next;
      for (std::string& piece : given) steps_[i]->push(std::move(piece), next);
      given = std::move(next);
      std::size_t made = 0;
      for (const std::string& piece : given) made += piece.size();
      check_growth(made, given_);
    }
    for (std::string& piece : given) out.push_back(std::move(piece));
  }

  std::vector<std::unique_ptr<PieceDecoder>> steps_;
  std::size_t given_ = 0;  // bytes of all pieces so far
};

class ChainRecipe final : public DecoderRecipe {
 public:
  explicit ChainRecipe(Steps steps) : steps_(std::move(steps)) {}
  std::unique_ptr<PieceDecoder> make() const override {
    std::vector<std::unique_ptr<PieceDecoder>> made;
    for (const auto& step : steps_) made.push_back(step->make());
    return std::make_unique<Chain>(std::move(made));
  }

 private:
  Steps steps_;
};

std::unique_ptr<DecoderRecipe> read_metaspace(const Json& json, bool fused) {
  const std::string mark = json.string("replacement", "\xE2\x96\x81");
  const bool old = json.boolean("add_prefix_space", true);
  const bool prefixed = json.string("prepend_scheme", old ? "always" : "never") != "never";
  const auto loses = !prefixed ? MarksLost::none : fused ? MarksLost::all : MarksLost::first_piece;
  return recipe([=] { return metaspace_step(mark, loses); });
}

std::unique_ptr<DecoderRecipe> read_strip(const Json& json, bool fused) {
  const std::string content = json.string("content");
  const auto count = [&](const char* name) {
    return static_cast<std::size_t>(json.has(name) ? json.integer_in(name, 0, 1 << 20) : 0);
  };
  const std::size_t start = count("start"), stop = count("stop");
  if (content.empty() || utf8_character(content) != content.size()) {
    throw Error(ErrorCode::format, "tokenizer", json.place_of("content") + ": is no one character");
  }
  if (fused) return recipe([=] { return strip_stream_step(content, start, stop); });
  return recipe([=] { return strip_step(content, start, stop); });
}

std::unique_ptr<DecoderRecipe> read_replace(const Json& json, bool fused) {
  const std::shared_ptr<const Pattern> pattern = read_pattern(json.get("pattern"));
  const std::string& content = json.string("content");
  const Json* literal = json.get("pattern").find("String");
  if (fused && literal != nullptr && !literal->as_string().empty()) {
    return recipe(
        [what = literal->as_string(), content] { return replace_stream_step(what, content); });
  }
  if (fused) return recipe([=] { return whole_step(replace_step(pattern, content)); });
  return recipe([=] { return replace_step(pattern, content); });
}

constexpr const char* kKnown =
    "known types are ByteLevel, WordPiece, Metaspace, BPEDecoder, ByteFallback, Fuse, Strip, "
    "Replace, CTC, Sequence";

/// A step that looks at whole pieces: after a Fuse it waits for the end.
std::unique_ptr<DecoderRecipe> piecewise(StepRecipe::Make make, bool fused) {
  if (!fused) return recipe(std::move(make));
  return recipe([make = std::move(make)] { return whole_step(make()); });
}

// `fused`: from a Fuse or ByteLevel on there is one string, which comes in parts.
std::unique_ptr<DecoderRecipe> read_step(const Json& json, bool& fused) {
  const std::string& type = json.string("type");
  if (type == "Metaspace") return read_metaspace(json, fused);
  if (type == "Strip") return read_strip(json, fused);
  if (type == "Replace") return read_replace(json, fused);
  if (type == "ByteFallback") return piecewise(byte_fallback_step, fused);
  if (type == "WordPiece") {
    const std::string prefix = json.string("prefix", "##");
    const bool clean_up = json.boolean("cleanup", true);
    return piecewise([=] { return wordpiece_step(prefix, clean_up); }, fused);
  }
  if (type == "BPEDecoder") {
    const std::string suffix = json.string("suffix", "</w>");
    return piecewise([=] { return suffix_step(suffix); }, fused);
  }
  if (type == "CTC") {
    const std::string pad = json.string("pad_token", "<pad>");
    const std::string delimiter = json.string("word_delimiter_token", "|");
    const bool clean_up = json.boolean("cleanup", true);
    return piecewise([=] { return ctc_step(pad, delimiter, clean_up); }, fused);
  }
  if (type == "ByteLevel") {
    auto step = piecewise(byte_level_step, fused);
    fused = true;
    return step;
  }
  if (type == "Fuse") {
    fused = true;
    return recipe(pass_step);
  }
  throw Error(ErrorCode::unsupported, "tokenizer",
              json.place_of("type") + ": decoder \"" + type + "\" is not known")
      .hint(kKnown);
}

// The steps of `json` and of the sequences in it, in their order.
void read_steps(const Json& json, bool& fused, Steps& out) {
  if (json.string("type") != "Sequence") {
    out.push_back(read_step(json, fused));
    return;
  }
  for (const Json& step : steps_of(json.get("decoders"))) read_steps(step, fused, out);
}

}  // namespace

std::unique_ptr<DecoderRecipe> read_decoder(const Json& json) {
  if (json.is_null()) return recipe(spaced_step);
  bool fused = false;
  Steps steps;
  read_steps(json, fused, steps);
  if (steps.size() == 1) return std::move(steps.front());  // it bounds what it makes itself
  return std::make_unique<ChainRecipe>(std::move(steps));
}

std::unique_ptr<DecoderRecipe> make_byte_level_decoder() {
  return recipe(byte_level_step);
}

std::unique_ptr<DecoderRecipe> make_wordpiece_decoder(std::string prefix, bool clean_up) {
  return recipe(
      [prefix = std::move(prefix), clean_up] { return wordpiece_step(prefix, clean_up); });
}

}  // namespace perilune
