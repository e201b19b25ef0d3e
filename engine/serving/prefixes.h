// Requests whose texts begin alike share the pages of what they have in common: found when they
// start, left when they go on and end. Keys and values depend on the ids before them alone, in
// every batch and chunk, so that what is found is to the bit what would be computed.
#pragma once

#include "engine/serving/request.h"

namespace perilune {

/// Of a request that has no pages: how many first tokens need not be computed now.
std::int64_t shareable_tokens(const Request& request);
/// Lets a request that has no pages begin with those that its pool has kept. False: there are none.
bool attach_prefix(Request& request);
/// Gives back what attach_prefix() took.
void detach_prefix(Request& request);
/// Begins a request with what it goes on from.
void continue_cache(Request& request);
/// Lets a sequence's pages go; what went on from a caller's cache is kept for the caller.
void release_cache(Request& request, Sequence& sequence);
/// Lets others find a sequence's pages; of one that ends (`tail`) the begun one, too.
void publish_pages(const Request& request, Sequence& sequence, bool tail);

}  // namespace perilune
