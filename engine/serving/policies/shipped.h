// The policies that ship, by name. They look at tokens and rows; memory is the engine's affair.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/serving/policy.h"

namespace perilune {

/// First in, first out: answers under way go on, then prompts in order of arrival, until one does
/// not fit.
std::shared_ptr<Policy> make_fifo_policy();
/// As fifo, but what does not fit is passed over, so that a step is as full as it can be.
std::shared_ptr<Policy> make_fill_policy();
/// As fifo, but a step reads prompts of one bucket of lengths only: that of the prompt that has
/// waited longest. `bounds`: the most tokens of each bucket, ascending; longer ones are the last.
std::shared_ptr<Policy> make_bucket_policy(std::vector<std::int64_t> bounds);

/// "fifo", "fill" or "buckets". Throws Error(policy) for another name (with the nearest), and for
/// bounds that do not ascend from 1.
std::shared_ptr<Policy> make_policy(const std::string& name, std::vector<std::int64_t> bounds = {});

}  // namespace perilune
