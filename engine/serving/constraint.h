// A grammar that the answers of a request keep to.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/constrain/token_masks.h"
#include "engine/serving/processors.h"
#include "engine/serving/request.h"

namespace perilune {

/// For one request. Its answers are whole texts of the grammar, or where something else ends them
/// (a length, a stop text, the caller) beginnings of such. A stop id is an end, and never text: it
/// is allowed where the grammar may end.
class Constraint final : public Processor {
 public:
  using Choices = std::shared_ptr<const std::vector<std::string>>;
  /// `choices`: what the grammar is a list of; null where it is none.
  explicit Constraint(std::shared_ptr<TokenMasks> masks, Choices choices = nullptr)
      : masks_(std::move(masks)), choices_(std::move(choices)) {}

  std::span<const std::uint32_t> allowed(const Request& request, const Sequence& sequence) override;
  /// Whether the grammar has nothing to go on with after these new ids: the answer ends without a
  /// stop id.
  bool complete(const Request& request, std::span<const std::int32_t> new_ids) override;
  const std::shared_ptr<const TokenBytes>& bytes() const { return masks_->bytes(); }
  /// Which of the choices (from 0) a text is.
  std::optional<std::size_t> choice_of(std::string_view text) const;

 private:
  struct Known {
    std::vector<std::int32_t> ids;
    TokenMasks::Place place;
  };
  Known& at(std::span<const std::int32_t> ids);

  std::shared_ptr<TokenMasks> masks_;
  Choices choices_;
  std::vector<Known> known_;         // texts of late, oldest first
  std::vector<std::uint32_t> mask_;  // of the last call
};

/// A decoder for an answer; one that keeps to a grammar becomes the bytes that the grammar saw.
std::unique_ptr<StreamDecoder> answer_decoder(const RequestSpec& spec);

}  // namespace perilune
