// A batch's rows one by one, and how a batch prints.
#include "bindings/lua/batches/batch_rows.h"

#include <algorithm>

#include "bindings/lua/batches/batch_object.h"
#include "bindings/lua/edge/answer.h"
#include "bindings/lua/edge/arguments.h"
#include "bindings/lua/text/encoded_text.h"
#include "bindings/lua/text/tokenizer.h"

namespace perilune::lua {

namespace {

/// Upvalues: batch, row (1-based).
int row_tokens(lua_State* L) {
  const auto& object = check_object<BatchObject>(L, lua_upvalueindex(1), "tokens", "batch");
  const std::int64_t row = static_cast<std::int64_t>(lua_tonumber(L, lua_upvalueindex(2))) - 1;
  lua_newtable(L);
  int position = 0;
  const std::vector<std::int32_t> ids = object.batch->row_ids(row);
  if (object.places != nullptr) {
    const RowPlace& place = (*object.places)[static_cast<std::size_t>(row)];
    for (const Token& token : tokens_of(*object.tokenizer, place, ids)) {
      push_token(L, *object.tokenizer, token);
      lua_rawseti(L, -2, ++position);
    }
    if (position > 0) {
      mark_answer(L);
      return 1;
    }
  }
  for (const std::int32_t id : ids) {
    lua_createtable(L, 0, 3);
    set_field(L, "id", static_cast<std::int64_t>(id));
    if (object.tokenizer != nullptr) {
      set_field(L, "piece", object.tokenizer->piece(id));
      set_field(L, "special", object.tokenizer->is_special(id));
    }
    mark_answer(L);
    lua_rawseti(L, -2, ++position);
  }
  mark_answer(L);
  return 1;
}

int push_row(lua_State* L, int batch_index, std::int64_t row) {
  const auto& object = check_object<BatchObject>(L, batch_index, "row", "self");
  lua_createtable(L, 0, 6);
  push_list(L, object.batch->row_ids(row));
  lua_setfield(L, -2, "ids");
  set_field(L, "length", object.batch->rows().length(row));
  const auto index = static_cast<std::size_t>(row);
  set_field(L, "lost", object.batch->facts()[index].lost);
  if (object.places != nullptr) {
    const RowPlace& place = (*object.places)[index];
    set_field(L, "first_token", place.first[0] + 1);
    if (place.source->pair) set_field(L, "pair_first_token", place.first[1] + 1);
  }
  lua_pushvalue(L, batch_index);
  push_integer(L, row + 1);
  lua_pushcclosure(L, guarded<row_tokens>, 2);
  lua_setfield(L, -2, "tokens");
  mark_answer(L);
  return 1;
}

/// Iterator: upvalues: batch, next row.
int next_row(lua_State* L) {
  const auto& object = check_object<BatchObject>(L, lua_upvalueindex(1), "rows", "batch");
  const auto row = static_cast<std::int64_t>(lua_tonumber(L, lua_upvalueindex(2)));
  if (row >= object.batch->size()) return 0;
  push_integer(L, row + 1);
  lua_replace(L, lua_upvalueindex(2));
  lua_pushvalue(L, lua_upvalueindex(1));
  push_integer(L, row + 1);
  push_row(L, lua_gettop(L) - 1, row);
  return 2;
}

constexpr std::int64_t kRowsShown = 8;
constexpr std::int64_t kTokensShown = 16;

std::string row_text(const BatchObject& object, std::int64_t row) {
  const auto ids = object.batch->row_ids(row);
  std::string text;
  const auto count = static_cast<std::int64_t>(ids.size());
  for (std::int64_t i = 0; i < count; ++i) {
    if (count > kTokensShown && i == kTokensShown - 4) {
      text += " ...";
      i = count - 4;
    }
    const std::int32_t id = ids[static_cast<std::size_t>(i)];
    const bool known = object.tokenizer != nullptr && id >= 0 && id <= object.tokenizer->max_id();
    text += " " + (known ? object.tokenizer->piece(id) : std::to_string(id));
  }
  return text;
}

std::int64_t lost_tokens(const Batch& batch) {
  std::int64_t lost = 0;
  for (const SequenceFacts& facts : batch.facts()) lost += facts.lost;
  return lost;
}

std::string lost_text(const Batch& batch, std::int64_t row) {
  const std::int64_t lost = batch.facts()[static_cast<std::size_t>(row)].lost;
  return lost > 0 ? ", " + std::to_string(lost) + " lost" : "";
}

}  // namespace

int batch_row(lua_State* L) {
  const auto& batch = self<BatchObject>(L, "row").batch;
  const std::int64_t index =
      to_position(to_integer(L, 2, "row", "row"), batch->size(), "row", "row");
  return push_row(L, 1, index);
}

int batch_rows(lua_State* L) {
  (void)self<BatchObject>(L, "rows");
  lua_pushvalue(L, 1);
  push_integer(L, 0);
  lua_pushcclosure(L, guarded<next_row>, 2);
  return 1;
}

int batch_text(lua_State* L) {
  const auto& object = self<BatchObject>(L, "tostring");
  const Batch& batch = *object.batch;
  std::string text = "Batch of " + std::to_string(batch.size()) +
                     (batch.size() == 1 ? " row, " : " rows, ") + std::to_string(batch.tokens()) +
                     (batch.tokens() == 1 ? " token" : " tokens");
  const std::int64_t lost = lost_tokens(batch);
  if (lost > 0) text += ", " + std::to_string(lost) + " lost to truncation";
  if (batch.has_ids()) {
    for (std::int64_t row = 0; row < std::min(batch.size(), kRowsShown); ++row) {
      text += "\n  " + std::to_string(row + 1) + " (" + std::to_string(batch.rows().length(row)) +
              lost_text(batch, row) + ")" + row_text(object, row);
    }
    if (batch.size() > kRowsShown) text += "\n  ...";
  }
  push_text(L, text);
  return 1;
}

}  // namespace perilune::lua
