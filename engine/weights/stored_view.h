// Where the elements of a weight lie in its file.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/files/tensor_file.h"

namespace perilune {

/// A stored tensor seen through the family's views: any element strides into the stored bytes, so
/// transposes and splits copy nothing.
struct StoredView {
  std::shared_ptr<const TensorFile> file;
  std::string stored_name;  // as in the file
  DType dtype = DType::f32;
  std::vector<std::int64_t> sizes;    // after the view
  std::vector<std::int64_t> strides;  // elements
  std::int64_t offset = 0;            // elements
  /// Rows of a split by head lie in groups: row r at (r / group_rows) * group_stride +
  /// (r % group_rows) * strides[0]. 0: one group.
  std::int64_t group_rows = 0;
  std::int64_t group_stride = 0;  // elements
  /// Rows of a head, where those are stored as pairs: row j * head_rows / 2 + i of each head at
  /// 2i + j. 0: in order. Not together with group_rows.
  std::int64_t head_rows = 0;
  float offset_value = 0;      // Checkpoint::tensor adds it
  bool outputs_first = false;  // StoredTensor's: transposed already where a family transposes
};

/// All of a stored tensor, as it is stored.
StoredView whole_view(const CheckpointEntry& entry);
/// Whether two stored tensors, each seen whole, hold the same bytes; reads both files.
bool same_elements(const StoredView& a, const StoredView& b);

}  // namespace perilune
