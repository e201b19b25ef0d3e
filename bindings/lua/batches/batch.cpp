// Batch: ragged rows of ids, and their padded views.
#include <algorithm>

#include "bindings/lua/text/tokenizer.h"

#include "bindings/lua/batches/encode.h"

#include "bindings/lua/batches/batch.h"
#include "bindings/lua/batches/batch_input.h"
#include "bindings/lua/batches/batch_object.h"
#include "bindings/lua/batches/batch_rows.h"
#include "bindings/lua/edge/answer.h"
#include "bindings/lua/tensors/tensor_value.h"
#include "engine/program/net.h"

namespace perilune::lua {

namespace {

const std::shared_ptr<const Batch>& batch_of(lua_State* L, const char* op) {
  return self<BatchObject>(L, op).batch;
}

int push_batch(lua_State* L, std::shared_ptr<const Batch> batch,
               std::shared_ptr<const Tokenizer> tokenizer = nullptr,
               std::shared_ptr<const std::vector<RowPlace>> places = nullptr) {
  push_object(L, BatchObject{std::move(batch), std::move(tokenizer), std::move(places)});
  return 1;
}

std::shared_ptr<const Batch> with_wanted(lua_State* L, const std::shared_ptr<const Batch>& batch) {
  if (lua_type(L, -1) == LUA_TSTRING) {
    const std::string word = lua_tostring(L, -1);
    if (word == "last") return batch->with_rows(RowSelection::last);
    if (word == "all") return batch->with_rows(RowSelection::all);
    throw Error(ErrorCode::option, "batch",
                "option rows: \"" + word + "\" is not \"last\", \"all\" or lists");
  }
  Rows64 wanted = widen(to_rows(L, -1, "batch", "option rows"));
  for (std::size_t row = 0; row < wanted.size(); ++row) {
    const auto index = static_cast<std::int64_t>(row);
    if (index >= batch->size()) break;  // the batch says that there are too many
    for (std::int64_t& position : wanted[row]) {
      position = to_position(position, batch->rows().length(index), "batch",
                             "option rows: row " + std::to_string(row + 1) + ", token");
    }
  }
  return batch->with_rows(RowSelection::listed, std::move(wanted));
}

/// core.batch(rows | nil, { pairs=, inputs=, positions=, type_ids=, labels=, rows=, tokenizer= })
int make_batch(lua_State* L) {
  Options options(L, 2, "batch");
  const std::vector<BatchInput> inputs = to_inputs(L, options);
  const bool alone = lua_isnoneornil(L, 1) && !inputs.empty();
  Rows32 given = alone ? Rows32{} : to_rows(L, 1, "batch", "rows");
  const Rows64 types = append_pairs(L, options, given);
  auto batch = Batch::make(state(L).context, given, inputs);
  if (!types.empty()) batch = batch->with_type_ids(types);
  if (options.push("positions")) {
    batch = batch->with_positions(widen(to_rows(L, -1, "batch", "positions")));
    lua_pop(L, 1);
  }
  if (options.push("type_ids")) {
    batch = batch->with_type_ids(widen(to_rows(L, -1, "batch", "type_ids")));
    lua_pop(L, 1);
  }
  if (options.push("labels")) {
    batch = batch->with_labels(widen(to_rows(L, -1, "batch", "labels")));
    lua_pop(L, 1);
  }
  if (options.push("rows")) {
    batch = with_wanted(L, batch);
    lua_pop(L, 1);
  }
  const auto* tokenizer = options.object<TokenizerPointer>("tokenizer");
  options.done();
  return push_batch(L, std::move(batch), tokenizer != nullptr ? *tokenizer : nullptr);
}

/// core.batch_from_padded(ids, mask, op): what is wrong is said in the name of `op`, where it is
/// given.
int batch_from_padded(lua_State* L) {
  const std::string op =
      lua_isnoneornil(L, 3) ? "batch_from_padded" : to_text(L, 3, "batch_from_padded", "op");
  if (lua_isnoneornil(L, 2)) {
    throw Error(ErrorCode::argument, op, "ids without a mask: the pad id may be a real token")
        .hint("give the mask, or rows without padding: pl.batch(rows)");
  }
  const Rows32 ids = to_grid(L, 1, op.c_str(), "ids");
  const Rows32 mask = to_grid(L, 2, op.c_str(), "mask");
  return push_batch(L, Batch::from_padded(state(L).context, ids, mask, op));
}

// ---------------------------------------------------------------- fields

int size(lua_State* L) {
  push_integer(L, batch_of(L, "size")->size());
  return 1;
}

int tokens(lua_State* L) {
  push_integer(L, batch_of(L, "tokens")->tokens());
  return 1;
}

int ids(lua_State* L) {
  const auto& batch = batch_of(L, "ids");
  if (!batch->has_ids()) throw Error(ErrorCode::state, "batch", "this batch has no ids");
  push_tensor(L, batch->ids().as_read_only());
  return 1;
}

int has_ids(lua_State* L) {
  lua_pushboolean(L, batch_of(L, "has_ids")->has_ids() ? 1 : 0);
  return 1;
}

/// Names of what passes can read.
int inputs(lua_State* L) {
  const auto& batch = batch_of(L, "inputs");
  std::vector<std::string> names{"positions", "type_ids"};
  if (batch->has_ids()) names.emplace_back("ids");
  for (const auto& [name, tensor] : batch->inputs()) names.push_back(name);
  push_list(L, names);
  return 1;
}

int positions(lua_State* L) {
  push_tensor(L, batch_of(L, "positions")->positions().as_read_only());
  return 1;
}

int type_ids(lua_State* L) {
  push_tensor(L, batch_of(L, "type_ids")->type_ids().as_read_only());
  return 1;
}

int lengths(lua_State* L) {
  const auto& batch = batch_of(L, "lengths");
  std::vector<std::int64_t> list;
  for (std::int64_t r = 0; r < batch->size(); ++r) list.push_back(batch->rows().length(r));
  push_list(L, list);
  return 1;
}

/// The 1-based position of each row's first token.
int row_starts(lua_State* L) {
  const auto& batch = batch_of(L, "row_starts");
  std::vector<std::int64_t> list;
  for (std::int64_t r = 0; r < batch->size(); ++r) {
    list.push_back(batch->rows().starts[static_cast<std::size_t>(r)] + 1);
  }
  push_list(L, list);
  return 1;
}

int lost(lua_State* L) {
  const auto& batch = batch_of(L, "lost");
  std::vector<std::int64_t> list(static_cast<std::size_t>(batch->size()), 0);
  for (std::size_t r = 0; r < batch->facts().size(); ++r) list[r] = batch->facts()[r].lost;
  push_list(L, list);
  return 1;
}

int windows(lua_State* L) {
  const auto& batch = batch_of(L, "windows");
  std::vector<std::int64_t> list;
  for (std::size_t r = 0; r < batch->facts().size(); ++r) {
    list.push_back(batch->facts()[r].source + 1);
  }
  push_list(L, list);
  return 1;
}

int labels(lua_State* L) {
  const auto& lists = batch_of(L, "labels")->labels();
  if (lists.empty()) return 0;
  lua_createtable(L, static_cast<int>(lists.size()), 0);
  int position = 0;
  for (const auto& row : lists) {
    push_list(L, row);
    lua_rawseti(L, -2, ++position);
  }
  return 1;
}

/// Which tokens the batch itself asks answers for: "last", "all", lists of positions, or nil.
int wanted(lua_State* L) {
  const auto& batch = batch_of(L, "wanted");
  switch (batch->row_selection()) {
    case RowSelection::last: push_text(L, "last"); return 1;
    case RowSelection::all: push_text(L, "all"); return 1;
    case RowSelection::listed: break;
    default: return 0;
  }
  lua_createtable(L, static_cast<int>(batch->wanted().size()), 0);
  int position = 0;
  for (std::vector<std::int64_t> row : batch->wanted()) {
    for (std::int64_t& offset : row) ++offset;
    push_list(L, row);
    lua_rawseti(L, -2, ++position);
  }
  return 1;
}

int tokenizer(lua_State* L) {
  const auto& object = self<BatchObject>(L, "tokenizer");
  if (object.tokenizer == nullptr) return 0;
  push_object(L, std::const_pointer_cast<Tokenizer>(object.tokenizer));
  return 1;
}

// ---------------------------------------------------------------- rows

int select(lua_State* L) {
  const auto& object = self<BatchObject>(L, "select");
  std::vector<std::int64_t> list = to_integers(L, 2, "select", "rows");
  for (std::int64_t& position : list) {
    position = to_position(position, object.batch->size(), "select", "row");
  }
  std::shared_ptr<std::vector<RowPlace>> places;
  if (object.places != nullptr) {
    places = std::make_shared<std::vector<RowPlace>>();
    for (const std::int64_t row : list) {
      places->push_back((*object.places)[static_cast<std::size_t>(row)]);
    }
  }
  return push_batch(L, object.batch->select(list), object.tokenizer, std::move(places));
}

/// b:concat(other): of two tokenizers that differ (the caller asked whether that is meant) the rows
/// belong to none; rows of ids go with the tokenizer of the others.
int concat(lua_State* L) {
  const auto& object = self<BatchObject>(L, "concat");
  const auto& other = check_object<BatchObject>(L, 2, "concat", "other");
  auto tokenizer = object.tokenizer != nullptr ? object.tokenizer : other.tokenizer;
  if (other.tokenizer != nullptr && !same_vocabulary(*tokenizer, *other.tokenizer)) {
    tokenizer = nullptr;
  }
  std::shared_ptr<std::vector<RowPlace>> places;
  if (tokenizer != nullptr && object.places != nullptr && other.places != nullptr) {
    places = std::make_shared<std::vector<RowPlace>>(*object.places);
    places->insert(places->end(), other.places->begin(), other.places->end());
  }
  return push_batch(L, object.batch->concat(*other.batch), std::move(tokenizer), std::move(places));
}

// ---------------------------------------------------------------- padding

Batch::Padding to_padding(lua_State* L, int index, const BatchObject& object, const char* op) {
  Options options(L, index, op);
  Batch::Padding padding;
  padding.left = options.choice("side", {"left", "right"}) == "left";
  if (options.push("to")) {
    if (lua_type(L, -1) != LUA_TSTRING) {
      padding.to = to_integer(L, -1, op, "option to");
      if (padding.to < 1) throw Error(ErrorCode::option, op, "option to: must be 1 or more");
    } else if (std::string(lua_tostring(L, -1)) != "longest") {
      throw Error(ErrorCode::option, op, "option to: expected \"longest\" or a whole number");
    }
    lua_pop(L, 1);
  }
  padding.multiple_of = options.integer("multiple_of").value_or(1);
  if (padding.multiple_of < 1) {
    throw Error(ErrorCode::option, op, "option multiple_of: must be 1 or more");
  }
  if (const auto pad = options.integer("pad_id")) {
    padding.pad_id =
        static_cast<std::int32_t>(std::clamp<std::int64_t>(*pad, INT32_MIN, INT32_MAX));
  } else if (object.tokenizer != nullptr) {
    padding.pad_id = object.tokenizer->pad().value_or(0);
  }
  options.done();
  return padding;
}

int padded(lua_State* L) {
  const auto& object = self<BatchObject>(L, "padded");
  Batch::Padded view = object.batch->padded(to_padding(L, 2, object, "padded"));
  lua_createtable(L, 0, 5);
  const std::pair<const char*, Tensor*> kParts[] = {{"ids", &view.ids},
                                                    {"mask", &view.mask},
                                                    {"positions", &view.positions},
                                                    {"type_ids", &view.type_ids}};
  for (const auto& [name, tensor] : kParts) {
    if (!tensor->defined()) continue;
    push_value(L, Value::of(*tensor));
    lua_setfield(L, -2, name);
  }
  set_field(L, "waste", view.waste);
  mark_answer(L);
  return 1;
}

int pad(lua_State* L) {
  const auto& object = self<BatchObject>(L, "pad");
  const Tensor& tensor = to_tensor(L, 2, "pad", "t");
  Batch::PaddedLayout layout;
  if (lua_isnoneornil(L, 3) && object.batch->padded_layout()) {
    layout = *object.batch->padded_layout();
  } else {
    layout = object.batch->layout(to_padding(L, 3, object, "pad"));
  }
  push_value(L, Value::of(object.batch->pad(tensor, layout)));
  return 1;
}

int split(lua_State* L) {
  const auto& batch = batch_of(L, "split");
  const auto parts = batch->split(to_tensor(L, 2, "split", "t"));
  lua_createtable(L, static_cast<int>(parts.size()), 0);
  int position = 0;
  for (const Tensor& part : parts) {
    push_tensor(L, part);
    lua_rawseti(L, -2, ++position);
  }
  return 1;
}

/// The rows of a tensor reduced by the ops that passes use, so that bits agree.
template <class Apply>
int reduce_rows(lua_State* L, const char* op, Apply apply) {
  const auto& batch = batch_of(L, op);
  const Tensor& tensor = to_tensor(L, 2, op, "t");
  (void)batch->ragged_axis(op, tensor);
  auto net = std::make_shared<NetState>();
  auto binding = std::make_shared<PassBinding>(state(L).context, batch);
  net->pass = std::make_shared<EagerPass>(std::move(binding), EagerOptions{});
  push_value(L, Value::of(apply(Net(net), Value::of(tensor)).tensor));
  return 1;
}

int mean(lua_State* L) {
  return reduce_rows(L, "mean", [](const Net& net, const Value& x) { return net.mean(x); });
}

int last(lua_State* L) {
  return reduce_rows(L, "last",
                     [](const Net& net, const Value& x) { return net.select(x, "last", {}); });
}

int first(lua_State* L) {
  return reduce_rows(L, "first",
                     [](const Net& net, const Value& x) { return net.select(x, "first", {}); });
}

}  // namespace

void add_batch(lua_State* L) {
  constexpr Member kFunctions[] = {
      {"batch", guarded<make_batch>},
      {"batch_from_padded", guarded<batch_from_padded>},
  };
  set_functions(L, kFunctions);
  constexpr Member kMethods[] = {
      {"row", guarded<batch_row>}, {"rows", guarded<batch_rows>}, {"select", guarded<select>},
      {"concat", guarded<concat>}, {"padded", guarded<padded>},   {"pad", guarded<pad>},
      {"split", guarded<split>},   {"mean", guarded<mean>},       {"last", guarded<last>},
      {"first", guarded<first>},
  };
  constexpr Member kGetters[] = {
      {"size", guarded<size>},
      {"tokens", guarded<tokens>},
      {"ids", guarded<ids>},
      {"has_ids", guarded<has_ids>},
      {"inputs", guarded<inputs>},
      {"positions", guarded<positions>},
      {"type_ids", guarded<type_ids>},
      {"lengths", guarded<lengths>},
      {"row_starts", guarded<row_starts>},
      {"lost", guarded<lost>},
      {"windows", guarded<windows>},
      {"labels", guarded<labels>},
      {"wanted", guarded<wanted>},
      {"tokenizer", guarded<tokenizer>},
  };
  constexpr Member kOperators[] = {{"__tostring", guarded<batch_text>}};
  register_type<BatchObject>(L, kMethods, kGetters, kOperators);
  constexpr Member kTokenizerMethods[] = {{"encode", guarded<encode>}};
  push_methods(L, TypeName<TokenizerPointer>::value);
  set_functions(L, kTokenizerMethods);
  lua_pop(L, 1);
}

}  // namespace perilune::lua
