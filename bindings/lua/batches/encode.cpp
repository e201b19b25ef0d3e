#include "bindings/lua/batches/encode.h"

#include "bindings/lua/batches/batch_object.h"
#include "bindings/lua/edge/arguments.h"
#include "bindings/lua/text/tokenizer.h"

namespace perilune::lua {

int encode(lua_State* L) {
  const auto tokenizer = self<TokenizerPointer>(L, "encode");
  const EncodeSettings settings = to_settings(L, 3, *tokenizer, "encode");
  std::vector<EncodedRow> rows;
  std::vector<std::int64_t> sources;
  auto places = std::make_shared<std::vector<RowPlace>>();
  const auto add = [&](EncodedText given, std::int64_t source) {
    const auto text = std::make_shared<const EncodedText>(std::move(given));
    std::size_t window = 0;
    for (EncodedRow& row : encode_rows(*tokenizer, *text)) {
      places->push_back({text, window++, {row.first[0], row.first[1]}});
      rows.push_back(std::move(row));
      sources.push_back(source);
    }
  };
  if (is_list(L, 2)) {
    const int count = static_cast<int>(list_length(L, 2, "encode", "texts"));
    if (count == 0) throw Error(ErrorCode::argument, "encode", "an empty list of texts");
    for (int i = 1; i <= count; ++i) {
      lua_rawgeti(L, 2, i);
      const std::string name = "text " + std::to_string(i);
      add(read_text(L, lua_gettop(L), settings, name), i - 1);
      lua_pop(L, 1);
    }
  } else {
    add(read_text(L, 2, settings, "text"), 0);
  }
  std::vector<std::vector<std::int32_t>> ids;
  std::vector<std::vector<std::int64_t>> types;
  bool typed = false;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    if (rows[r].ids.empty()) {
      throw Error(ErrorCode::argument, "encode",
                  "text " + std::to_string(sources[r] + 1) + " gives no tokens")
          .hint("leave it out, or encode it with special=true");
    }
    typed = typed || !rows[r].type_ids.empty();
    ids.push_back(rows[r].ids);
  }
  auto batch = Batch::make(state(L).context, ids);
  if (typed) {
    for (EncodedRow& row : rows) {
      row.type_ids.resize(row.ids.size(), 0);
      types.push_back(std::move(row.type_ids));
    }
    batch = batch->with_type_ids(types);
  }
  std::vector<SequenceFacts> facts = batch->facts();
  facts.resize(rows.size());
  for (std::size_t r = 0; r < rows.size(); ++r) {
    facts[r].lost = rows[r].lost;
    facts[r].source = sources[r];
  }
  push_object(L, BatchObject{batch->with_facts(std::move(facts)), tokenizer, std::move(places)});
  return 1;
}

}  // namespace perilune::lua
