// Classifier-free guidance (Sanchez et al. 2023, arXiv:2306.17806): what the prompt asks for is
// said louder.
#pragma once

#include <span>

namespace perilune {

/// Scores of the next token become scale * (scores - without) + without, both as natural
/// log-probabilities; `without`: those of the same answer without the prompt, or after a negative
/// one, as long as `scores`.
void guide(std::span<float> scores, std::span<const float> without, double scale);

}  // namespace perilune
