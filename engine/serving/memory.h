// What requests take of their pool of pages and would give back, in bytes. The arithmetic of pages
// is the cache's own (engine/cache); here it is put together over a request's sequences.
#pragma once

#include "engine/serving/request.h"

namespace perilune {

/// The pool of a request's keys and values; null where it keeps none.
Cache* pool_of(const Request& request);
/// Whether it has pages.
bool holds_pages(const Request& request);
/// What a prompt and its encoded source take of an empty pool until a token is chosen; a forward's
/// all at once.
std::int64_t bytes_alone(const RequestSpec& spec, std::int64_t tokens, const CacheLayout& layout);
/// What its next pass takes: `tokens` for each sequence that runs, or its source.
std::int64_t bytes_needed(const Request& request, std::int64_t tokens);
/// The same of a request that begins with `shared` tokens in kept pages, which count as free.
std::int64_t bytes_needed_after(const Request& request, std::int64_t shared, std::int64_t tokens);
/// What a request that has no pages takes until its first token is chosen.
std::int64_t bytes_to_start(const Request& request);
/// What is free when it gives everything back.
std::int64_t bytes_released(const Request& request);

/// Gives all pages back, for the request to be computed again later. What its sequences have in
/// common will be computed once and shared as before.
void preempt(Request& request);
/// Where rotary positions depend on how long a text is: drops the keys of sequences whose text has
/// outgrown them, for the next passes to compute the whole text again, each by itself.
void drop_outgrown_keys(Request& request);
/// Drops the keys of sequences that have chosen a token, for the next to come from the whole text.
void start_over(Request& request);
/// Sequences that waited for what they have in common with another, and now have it.
void share_again(Request& request);

}  // namespace perilune
