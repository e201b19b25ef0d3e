// Ids to text, a token at a time.
#include "engine/base/error.h"
#include "engine/text/tokenizer/pipeline_tokenizer.h"

namespace perilune {

class PipelineDecoder final : public StreamDecoder {
 public:
  PipelineDecoder(std::shared_ptr<const Tokenizer> keep, const PipelineTokenizer& tokenizer,
                  const DecodeOptions& options)
      : keep_(std::move(keep)), tokenizer_(tokenizer), options_(options) {
    begin();
  }

  std::string push(std::int32_t id) override {
    const std::string* spelling = tokenizer_.decoding(id);
    if (spelling == nullptr) {
      throw Error(ErrorCode::argument, "decode",
                  "there is no token " + std::to_string(id) + ": ids are 0 to " +
                      std::to_string(tokenizer_.max_id()));
    }
    if (!options_.special && tokenizer_.is_special(id)) return {};
    given_.clear();
    step(*spelling);
    std::string out;
    deliver(out);
    return out;
  }

  std::string flush() override {
    given_.clear();
    if (steps_ != nullptr) steps_->finish(given_);
    std::string out, rest;
    deliver(out);
    if (bytes()) bytes_.flush(rest);
    clean(rest, out);
    if (tokenizer_.parts_.clean_up_spaces) clean_up_.flush(out);
    begin();
    return out;
  }

 private:
  // A text that follows another: the decoder gets a letter first, whose own text is dropped.
  static constexpr char kBefore = 'x';

  bool bytes() const {
    return tokenizer_.parts_.decoder != nullptr && tokenizer_.parts_.decoder->gives_bytes();
  }

  void begin() {
    const auto& recipe = tokenizer_.parts_.decoder;
    steps_ = recipe == nullptr ? nullptr : recipe->make();
    first_ = true;
    drop_ = false;
    if (!options_.continues) return;
    drop_ = true;
    given_.clear();
    step(std::string(1, kBefore));
    std::string nothing;
    deliver(nothing);
  }

  void step(const std::string& spelling) {
    if (steps_ != nullptr) return steps_->push(spelling, given_);
    given_.push_back(first_ ? spelling : " " + spelling);
    first_ = false;
  }

  void deliver(std::string& out) {
    std::string text;
    for (const std::string& part : given_) text += part;
    if (drop_ && !text.empty()) {
      if (text[0] == kBefore) text.erase(0, 1);
      drop_ = false;
    }
    if (!bytes()) return clean(text, out);
    std::string whole;
    bytes_.push(text, whole);
    clean(whole, out);
  }

  void clean(const std::string& text, std::string& out) {
    if (tokenizer_.parts_.clean_up_spaces) {
      clean_up_.push(text, out);
    } else {
      out += text;
    }
  }

  std::shared_ptr<const Tokenizer> keep_;
  const PipelineTokenizer& tokenizer_;
  DecodeOptions options_;
  std::unique_ptr<PieceDecoder> steps_;
  std::vector<std::string> given_;
  Utf8Buffer bytes_{Utf8Replacement::subpart};
  StreamCleanUp clean_up_;
  bool first_ = true;  // no piece so far
  bool drop_ = false;  // the next text begins with kBefore
};

std::unique_ptr<StreamDecoder> PipelineTokenizer::decoder(const DecodeOptions& options) const {
  return std::make_unique<PipelineDecoder>(weak_from_this().lock(), *this, options);
}

std::string PipelineTokenizer::join(std::span<const std::string> pieces) const {
  std::vector<std::string> given;
  if (parts_.decoder == nullptr) {
    for (const std::string& piece : pieces) given.push_back(given.empty() ? piece : " " + piece);
  } else {
    const auto steps = parts_.decoder->make();
    for (const std::string& piece : pieces) steps->push(piece, given);
    steps->finish(given);
  }
  std::string text;
  for (const std::string& part : given) text += part;
  return text;
}

}  // namespace perilune
