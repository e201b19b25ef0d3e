#include "engine/ops/pass_binding.h"

#include <algorithm>

#include "engine/base/error.h"
#include "engine/device/context.h"

namespace perilune {

const InputForm* input_form(const std::string& name) {
  static const InputForm kIds{};
  static const InputForm kFeatures{DType::f32, "frame", true, {"mel"}};
  static const InputForm kPixels{DType::f32, "batch", true, {"channel", "height", "width"}};
  if (name == "ids" || name == "positions" || name == "type_ids") return &kIds;
  if (name == "pixels") return &kPixels;
  return name == "features" ? &kFeatures : nullptr;
}

PassBinding::PassBinding(std::shared_ptr<Context> context, std::shared_ptr<const Batch> batch)
    : context_(std::move(context)) {
  restart(std::move(batch));
}

void PassBinding::release() {
  batch_ = nullptr;
  inputs_.clear();
  bound_ = 0;
  made_rows_.clear();
  caches_.clear();
  lent_ = nullptr;
  layout_ = nullptr;
  cross_lengths_.clear();
  wanted_.clear();
  wanted_identity_ = 0;
}

void PassBinding::restart(std::shared_ptr<const Batch> batch) {
  release();
  batch_ = std::move(batch);
  add_rows(batch_->rows());
  for (const RaggedRows& rows : batch_->other_rows()) add_rows(rows);
  for (const RaggedRows& rows : batch_->made_rows()) add_rows(rows);
}

void PassBinding::set_input(const std::string& name, Tensor tensor, const RaggedRows& rows) {
  if (tensor.shape().rank() > 0 && tensor.shape().size(0) != rows.total()) {
    throw Error(ErrorCode::shape, name,
                "rows add up to " + std::to_string(rows.total()) + ", the tensor has " +
                    std::to_string(tensor.shape().size(0)))
        .operand(name, tensor.describe());
  }
  add_rows(rows);
  Axis first = tensor.shape().axis(0);
  first.identity = rows.identity;
  tensor = tensor.with_shape(tensor.shape().with_axis(0, first));
  inputs_[name] = std::move(tensor);
}

const Tensor& PassBinding::input(const std::string& name) const {
  const auto found = inputs_.find(name);
  return found != inputs_.end() ? found->second : batch_->input(name);
}

const RaggedRows& PassBinding::rows(AxisIdentity identity) const {
  for (std::size_t i = 0; i < bound_; ++i) {
    if (rows_[i].identity == identity) return rows_[i];
  }
  throw Error(ErrorCode::state, "bind", "an axis of rows belongs to another batch or pass")
      .hint("use tensors of this pass: what other passes made comes as an input of this one");
}

/// The rows of this identity, or room for them.
RaggedRows& PassBinding::slot(AxisIdentity identity) {
  for (std::size_t i = 0; i < bound_; ++i) {
    if (rows_[i].identity == identity) return rows_[i];
  }
  if (bound_ == rows_.size()) rows_.emplace_back();
  return rows_[bound_++];
}

void PassBinding::add_rows(const RaggedRows& rows) {
  slot(rows.identity) = rows;
}

void PassBinding::add_made_rows(const RaggedRows& rows) {
  if (rows.identity == 0) return;  // a plain size
  add_rows(rows);
  made_rows_.push_back(rows);
}

bool PassBinding::has_rows(AxisIdentity identity) const {
  return std::any_of(rows_.begin(), rows_.begin() + static_cast<std::ptrdiff_t>(bound_),
                     [&](const RaggedRows& rows) { return rows.identity == identity; });
}

void PassBinding::set_caches(const std::vector<SequenceCache*>& caches, const CacheLayout* layout,
                             const std::vector<std::int64_t>& cross_lengths) {
  if (static_cast<std::int64_t>(caches.size()) != batch_->size()) {
    throw Error(
        ErrorCode::internal, "bind",
        std::to_string(caches.size()) + " caches for " + std::to_string(batch_->size()) + " rows");
  }
  caches_ = caches;
  layout_ = layout;
  cross_lengths_ = cross_lengths;
}

void PassBinding::lend_pages(std::shared_ptr<const LentPages> pages, const CacheLayout* layout) {
  lent_ = std::move(pages);
  layout_ = layout;
  cross_lengths_ = lent_->cross_lengths;
}

std::int64_t PassBinding::cross_length(std::size_t row) const {
  return cross_lengths_.empty() ? caches_[row]->cross_length() : cross_lengths_[row];
}

const std::vector<void*>& PassBinding::pages_of(std::size_t row, int group) const {
  if (lent_ != nullptr) return lent_->pages[static_cast<std::size_t>(group)][row];
  return caches_[row]->pages(group);
}

void PassBinding::kv_rows(const KvSlot& slot, KvKind kind, bool writing, AxisIdentity identity,
                          std::vector<kernels::KvRow>& result) const {
  if (!has_caches()) {
    throw Error(ErrorCode::state, "attention", "this pass keeps keys and values, and has no cache")
        .hint("give the pass a cache with one sequence for each row");
  }
  // Cross keys are written for the encoder's rows, from position 0; everything else goes by the
  // pass's own rows.
  const bool encoded = kind == KvKind::cross && writing;
  const RaggedRows& tokens = rows(encoded || identity != 0 ? identity : batch_->rows().identity);
  const auto count = static_cast<std::size_t>(batch_->size());
  if (tokens.rows() != batch_->size()) {
    throw Error(ErrorCode::shape, "attention",
                "q, k and v have " + std::to_string(tokens.rows()) + " rows, the pass has " +
                    std::to_string(count) + " caches")
        .hint("keys are kept for the tokens of the batch's own rows");
  }
  result.resize(count);
  for (std::size_t r = 0; r < count; ++r) {
    const std::vector<void*>& held = pages_of(r, slot.group);
    const auto row = static_cast<std::int64_t>(r);
    kernels::KvRow& out = result[r];
    out.pages = held.data();
    out.first_token = tokens.starts[r];
    out.tokens = tokens.length(row);
    out.first_position = encoded ? 0 : batch_->facts()[r].first_position;
    if (kind == KvKind::self) {
      out.key_count = out.first_position + out.tokens;
    } else if (writing) {
      out.key_count = out.tokens;
    } else {
      out.key_count = cross_length(r);
    }
    // The last line of defence before kernels follow page pointers.
    const auto pages = static_cast<std::int64_t>(held.size());
    if (out.key_count > pages * layout_->page_tokens()) {
      throw Error(ErrorCode::shape, "attention",
                  "row " + std::to_string(r + 1) + " has room for " +
                      std::to_string(pages * layout_->page_tokens()) + " positions, needs " +
                      std::to_string(out.key_count))
          .hint("keys are kept for the tokens of the batch's own rows");
    }
    const std::int64_t window = layout_->groups()[static_cast<std::size_t>(slot.group)].window;
    const std::int64_t seen = std::max<std::int64_t>(0, out.first_position - window + 1);
    if (window > 0 && kind == KvKind::self && out.tokens > 0 &&
        out.pages[seen / layout_->page_tokens()] == nullptr) {
      throw Error(ErrorCode::internal, "attention",
                  "row " + std::to_string(r + 1) + " has given back position " +
                      std::to_string(seen) + " of its window");
    }
  }
}

void PassBinding::set_wanted(const std::vector<std::int64_t>& wanted,
                             const std::vector<std::int64_t>& per_row, bool last) {
  wanted_ = wanted;
  wanted_per_row_ = per_row;
  settle_wanted(last);
}

void PassBinding::bind_wanted(RowSelection by_default) {
  wanted_.clear();
  wanted_per_row_.clear();
  for (std::int64_t r = 0; r < batch_->size(); ++r) {
    const std::size_t before = wanted_.size();
    batch_->append_wanted(r, by_default, batch_->rows().starts[static_cast<std::size_t>(r)],
                          wanted_);
    wanted_per_row_.push_back(static_cast<std::int64_t>(wanted_.size() - before));
  }
  settle_wanted(batch_->selection_or(by_default) == RowSelection::last);
}

/// Checks the wanted tokens and gives them their axis.
void PassBinding::settle_wanted(bool last) {
  const std::vector<std::int64_t>& wanted = wanted_;
  const std::vector<std::int64_t>& per_row = wanted_per_row_;
  std::int64_t total = 0;
  for (std::int64_t count : per_row) total += count;
  bool good = static_cast<std::int64_t>(per_row.size()) == batch_->size() &&
              total == static_cast<std::int64_t>(wanted.size());
  for (std::size_t i = 0; good && i < wanted.size(); ++i) {
    good = wanted[i] >= 0 && wanted[i] < batch_->tokens() && (i == 0 || wanted[i - 1] < wanted[i]);
  }
  for (std::size_t r = 0; good && last && r < per_row.size(); ++r) good = per_row[r] == 1;
  if (!good) {
    throw Error(ErrorCode::internal, "bind", "wanted rows do not fit the batch");
  }
  const bool all = !last && total == batch_->tokens();
  wanted_identity_ = last  ? batch_->batch_identity()
                     : all ? batch_->rows().identity
                           : context_->new_identity();
  if (all) return;  // its rows are known
  slot(wanted_identity_).set_lengths(last ? "batch" : "token", wanted_identity_, per_row);
}

Tensor PassBinding::answer(const Tensor& result) const {
  if (wanted_identity_ != batch_->batch_identity()) return result;
  std::vector<Axis> axes(result.shape().axes().begin(), result.shape().axes().end());
  for (Axis& axis : axes) {
    if (axis.identity == wanted_identity_) axis.name = "batch";
  }
  return result.with_shape(Shape(axes));
}

std::vector<std::int64_t> PassBinding::rope_lengths(AxisIdentity identity) const {
  const RaggedRows& tokens = rows(identity);
  std::vector<std::int64_t> lengths;
  lengths.reserve(static_cast<std::size_t>(tokens.total()));
  const bool own = identity == batch_->rows().identity;
  for (std::int64_t r = 0; r < tokens.rows(); ++r) {
    const std::int64_t count = tokens.length(r);
    const SequenceFacts* facts = own ? &batch_->facts()[static_cast<std::size_t>(r)] : nullptr;
    const std::int64_t first = facts != nullptr ? facts->first_position : 0;
    const std::int64_t prompt =
        facts != nullptr && facts->prompt_tokens >= 0 ? facts->prompt_tokens : first + count;
    for (std::int64_t i = 0; i < count; ++i) {
      lengths.push_back(first + i < prompt ? prompt : first + i + 1);
    }
  }
  return lengths;
}

}  // namespace perilune
