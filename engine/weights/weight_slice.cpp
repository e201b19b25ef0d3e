#include "engine/weights/weight_slice.h"

#include "engine/base/error.h"
#include "engine/weights/view_rows.h"

namespace perilune {
namespace {

bool whole_inputs(const Weight& weight, const MatrixPart& part) {
  return part.first_input == 0 && part.inputs == weight.inputs();
}

bool whole_outputs(const Weight& weight, const MatrixPart& part) {
  return part.first_output == 0 && part.outputs == weight.outputs();
}

StoredView part_of(const StoredView& whole, const MatrixPart& part) {
  StoredView view = whole;
  view.offset = row_begin(whole, part.first_output) + part.first_input * whole.strides[1];
  view.sizes = {part.outputs, part.inputs};
  return view;
}

}  // namespace

bool can_slice(const Weight& weight, const MatrixPart& part) {
  const StoredView& view = weight.view();
  const StoredTensor* stored = view.file->find(view.stored_name);
  if (!whole_inputs(weight, part) &&
      (weight.blocks() != nullptr || stored == nullptr || stored->format != nullptr ||
       stored->input_order != nullptr)) {
    return false;
  }
  if (whole_outputs(weight, part)) return true;
  const std::int64_t group = view.group_rows != 0 ? view.group_rows : view.head_rows;
  return group == 0 || (part.first_output % group == 0 && part.outputs % group == 0);
}

std::shared_ptr<Weight> WeightSlices::slice(const std::shared_ptr<Weight>& weight,
                                            const MatrixPart& part) {
  if (!can_slice(*weight, part)) {
    throw Error(ErrorCode::internal, "ranks", "a part of a weight that cannot be read by itself")
        .operand("weight", weight->path() + " " + weight->describe());
  }
  if (whole_inputs(*weight, part) && whole_outputs(*weight, part)) return weight;
  const std::lock_guard lock(mutex_);
  Made& made =
      made_[Key{weight.get(), part.first_output, part.outputs, part.first_input, part.inputs}];
  std::shared_ptr<Weight> known = made.part.lock();
  if (known == nullptr || made.whole.lock() != weight) {
    known = std::make_shared<Weight>(context_, weight->path(), part_of(weight->view(), part));
    made = {weight, known};
  }
  return known;
}

}  // namespace perilune
