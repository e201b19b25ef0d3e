#include "engine/batch/batch_maker.h"

#include <algorithm>

namespace perilune {

std::shared_ptr<const Batch> BatchMaker::make(const std::shared_ptr<Context>& context,
                                              std::span<const Row> rows) {
  if (made_ == nullptr || made_.use_count() > 1) made_.reset(new Batch());
  made_->context_ = context;
  try {
    fill(*made_, rows);
  } catch (...) {
    made_ = nullptr;
    throw;
  }
  return made_;
}

void BatchMaker::fill(Batch& batch, std::span<const Row> rows) {
  lengths_.clear();
  for (const Row& row : rows) lengths_.push_back(static_cast<std::int64_t>(row.ids.size()));
  Batch::check_row_lengths(lengths_);
  batch.set_rows(lengths_, "token");
  batch.refit(batch.ids_);
  auto* to = batch.ids_.as<std::int32_t>();
  for (const Row& row : rows) to = std::copy(row.ids.begin(), row.ids.end(), to);
  batch.facts_.clear();
  for (std::size_t r = 0; r < rows.size(); ++r) {
    batch.check_position(r, rows[r].facts);
    batch.facts_.push_back(rows[r].facts);
  }
  batch.fill_defaults();

  std::vector<std::vector<std::int64_t>>& lists = batch.wanted_;
  while (lists.size() > rows.size()) {
    spare_.push_back(std::move(lists.back()));
    lists.pop_back();
  }
  while (lists.size() < rows.size()) {
    if (spare_.empty()) spare_.emplace_back();
    lists.push_back(std::move(spare_.back()));
    spare_.pop_back();
  }
  for (std::size_t r = 0; r < rows.size(); ++r) {
    batch.check_wanted(r, rows[r].wanted);
    lists[r].assign(rows[r].wanted.begin(), rows[r].wanted.end());
  }
  batch.selection_ = RowSelection::listed;
}

}  // namespace perilune
