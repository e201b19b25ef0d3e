#include "engine/base/row_identity.h"

#include <algorithm>
#include <array>
#include <mutex>

namespace perilune {

namespace {

constexpr std::size_t kShownIds = 8, kShownRows = 3, kRemembered = 64;

/// Rows that were identified lately.
struct Remembered {
  RowIdentity identity;
  std::string text;  // " of the row 1 501"
};

struct Lately {
  std::mutex mutex;
  std::array<Remembered, kRemembered> ring;
  std::size_t next = 0;
};

Lately& lately() {
  static Lately kept;
  return kept;
}

/// splitmix64's finalizer.
std::uint64_t mixed(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return x ^ (x >> 31);
}

std::uint64_t hashed(std::uint64_t hash, std::uint64_t value) {
  return mixed(hash + 0x9E3779B97F4A7C15ull + mixed(value));
}

std::string describe(std::span<const std::int32_t> ids, std::span<const std::int64_t> starts) {
  const std::size_t rows = starts.size() - 1;
  std::string text = rows == 1 ? " of the row" : " of " + std::to_string(rows) + " rows";
  for (std::size_t r = 0; r < std::min(rows, kShownRows); ++r) {
    if (rows > 1) text += r == 0 ? ":" : ";";
    const auto first = static_cast<std::size_t>(starts[r]);
    const auto length = static_cast<std::size_t>(starts[r + 1]) - first;
    for (std::size_t i = 0; i < std::min(length, kShownIds); ++i)
      text += " " + std::to_string(ids[first + i]);
    if (length > kShownIds) text += " ...";
  }
  return rows > kShownRows ? text + "; ..." : text;
}

void remember(const RowIdentity& identity, std::span<const std::int32_t> ids,
              std::span<const std::int64_t> starts) {
  Lately& kept = lately();
  const std::scoped_lock lock(kept.mutex);
  for (const Remembered& known : kept.ring) {
    if (known.identity.token == identity.token) return;
  }
  kept.ring[kept.next] = {identity, describe(ids, starts)};
  kept.next = (kept.next + 1) % kRemembered;
}

}  // namespace

RowIdentity identify_rows(std::span<const std::int32_t> ids, std::span<const std::int64_t> starts) {
  std::uint64_t hash = starts.size();
  for (const std::int64_t start : starts) hash = hashed(hash, static_cast<std::uint64_t>(start));
  for (const std::int32_t id : ids) hash = hashed(hash, static_cast<std::uint32_t>(id));
  // Apart from each other, and from the numbers that contexts count.
  constexpr std::uint64_t kOfContent = std::uint64_t{1} << 62;
  const std::uint64_t low = hash & (kOfContent - 1) & ~std::uint64_t{1};
  const RowIdentity identity{kOfContent | low, kOfContent | low | 1};
  if (starts.size() > 1) remember(identity, ids, starts);
  return identity;
}

std::string whose_rows(std::uint64_t identity) {
  if (identity == 0) return "";
  Lately& kept = lately();
  const std::scoped_lock lock(kept.mutex);
  for (const Remembered& known : kept.ring) {
    if (known.identity.token == identity || known.identity.batch == identity) return known.text;
  }
  return "";
}

std::string different_batches(std::string_view axis, std::int64_t a, std::int64_t b) {
  std::string problem = "axis \"" + std::string(axis) + "\" belongs to different batches";
  if (a < 0 || b < 0) return problem;
  return problem + (a == b
                        ? " (both have " + std::to_string(a) + ", but they are not the same rows)"
                        : " (" + std::to_string(a) + " vs " + std::to_string(b) + ")");
}

}  // namespace perilune
