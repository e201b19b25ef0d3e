#include "engine/serving/constraint.h"

#include <algorithm>

namespace perilune {

namespace {

constexpr std::size_t kMostKnown = 2048;  // more than outputs and beams of a request

/// The new ids that are text: a forced first token, such as a language's, stands before it.
std::span<const std::int32_t> text_of(const Request& request, std::span<const std::int32_t> ids) {
  const RequestSpec& spec = request.spec;
  const auto& forced = spec.options.sampling.forced_bos;
  const bool begins = forced && spec.prompt_tokens == 1 && !ids.empty() && ids[0] == *forced;
  return begins ? ids.subspan(1) : ids;
}

}  // namespace

/// The place after `ids`, by way of the longest text of late that they go on from.
Constraint::Known& Constraint::at(std::span<const std::int32_t> ids) {
  Known* best = nullptr;
  for (Known& known : known_) {
    const bool begins = known.ids.size() <= ids.size() &&
                        std::equal(known.ids.begin(), known.ids.end(), ids.begin());
    if (begins && (best == nullptr || known.ids.size() > best->ids.size())) best = &known;
  }
  if (best == nullptr) {
    if (known_.size() >= kMostKnown) known_.erase(known_.begin());
    best = &known_.emplace_back();
    best->place = masks_->begin();
  }
  masks_->advance(best->place, ids);
  best->ids.insert(best->ids.end(), ids.begin() + static_cast<std::ptrdiff_t>(best->ids.size()),
                   ids.end());
  return *best;
}

std::span<const std::uint32_t> Constraint::allowed(const Request& request,
                                                   const Sequence& sequence) {
  const RequestSpec& spec = request.spec;
  const auto ids = new_ids_of(spec, sequence);
  if (ids.empty() && spec.prompt_tokens == 1 && spec.options.sampling.forced_bos) return {};
  const auto text = text_of(request, ids);
  Known& known = at(text);
  masks_->allowed(known.place, text, mask_);
  const bool may_end = masks_->accepts(known.place, text);
  for (const std::int32_t id : spec.options.stop_ids) {
    const auto word = static_cast<std::size_t>(id) / 32;
    if (id < 0 || (word >= mask_.size() && !may_end)) continue;
    if (word >= mask_.size()) mask_.resize(word + 1, 0);
    const std::uint32_t bit = std::uint32_t{1} << (static_cast<std::uint32_t>(id) % 32);
    mask_[word] = may_end ? mask_[word] | bit : mask_[word] & ~bit;
  }
  return mask_;
}

bool Constraint::complete(const Request& request, std::span<const std::int32_t> new_ids) {
  const auto text = text_of(request, new_ids);
  Known& known = at(text);
  return masks_->complete(known.place, text);
}

std::optional<std::size_t> Constraint::choice_of(std::string_view text) const {
  if (!choices_) return std::nullopt;
  const auto found = std::find(choices_->begin(), choices_->end(), text);
  if (found == choices_->end()) return std::nullopt;
  return static_cast<std::size_t>(found - choices_->begin());
}

std::unique_ptr<StreamDecoder> answer_decoder(const RequestSpec& spec) {
  if (spec.constraint) return make_bytes_decoder(spec.constraint->bytes());
  return spec.tokenizer->decoder(answer_decoding(spec));
}

}  // namespace perilune
