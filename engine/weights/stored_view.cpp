#include "engine/weights/stored_view.h"

#include <algorithm>

namespace perilune {
namespace {

std::vector<std::int64_t> row_major_strides(const std::vector<std::int64_t>& sizes) {
  std::vector<std::int64_t> strides(sizes.size());
  std::int64_t next = 1;
  for (std::size_t i = sizes.size(); i-- > 0;) {
    strides[i] = next;
    // Unsigned: sizes beside a 0 may be anything.
    next =
        static_cast<std::int64_t>(static_cast<std::uint64_t>(next) *
                                  static_cast<std::uint64_t>(std::max<std::int64_t>(sizes[i], 1)));
  }
  return strides;
}

bool is_whole(const StoredView& view) {
  return view.offset == 0 && view.group_rows == 0 && view.head_rows == 0 &&
         view.strides == row_major_strides(view.sizes);
}

}  // namespace

StoredView whole_view(const CheckpointEntry& entry) {
  StoredView view;
  view.file = entry.file;
  view.stored_name = entry.tensor->name;
  view.dtype = entry.tensor->dtype;
  view.sizes = entry.tensor->sizes;
  view.strides = row_major_strides(view.sizes);
  view.outputs_first = entry.tensor->outputs_first;
  return view;
}

bool same_elements(const StoredView& a, const StoredView& b) {
  constexpr std::size_t kPart = std::size_t{1} << 20;
  const StoredTensor* first = a.file->find(a.stored_name);
  const StoredTensor* second = b.file->find(b.stored_name);
  if (first == nullptr || second == nullptr || !is_whole(a) || !is_whole(b)) return false;
  if (first->type != second->type || a.sizes != b.sizes || !first->readable) return false;
  if (a.offset_value != b.offset_value) return false;
  const std::uint64_t bytes = first->end - first->begin;
  std::vector<char> ours(kPart), theirs(kPart);
  for (std::uint64_t at = 0; at < bytes; at += kPart) {
    const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(kPart, bytes - at));
    a.file->read(*first, at, count, ours.data());
    b.file->read(*second, at, count, theirs.data());
    if (!std::equal(ours.begin(), ours.begin() + static_cast<std::ptrdiff_t>(count),
                    theirs.begin())) {
      return false;
    }
  }
  return true;
}

}  // namespace perilune
