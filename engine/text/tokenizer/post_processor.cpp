#include "engine/text/tokenizer/post_processor.h"

#include "engine/base/error.h"
#include "engine/text/pattern/step_list.h"

namespace perilune {
namespace {

using Item = PostProcessing::Item;

constexpr std::int64_t kMaxId = (1 << 24) - 1;
constexpr std::size_t kMaxItems = 256;

[[noreturn]] void fail(const std::string& place, const std::string& problem) {
  throw Error(ErrorCode::format, "load", place + ": " + problem);
}

std::int32_t read_id(const Json& value, const std::string& place) {
  const std::int64_t id = value.as_integer(place);
  if (id < 0 || id > kMaxId) fail(place, std::to_string(id) + " is not a token id");
  return static_cast<std::int32_t>(id);
}

// ["[SEP]", 102] of Bert and Roberta.
std::int32_t read_token(const Json& json, const char* name) {
  const Json& pair = json.get(name);
  const std::string place = json.place_of(name);
  if (!pair.is_array() || pair.size() != 2) fail(place, "expected [token, id]");
  pair.at(0).as_string(place);
  return read_id(pair.at(1), place);
}

Item special(std::vector<std::int32_t> ids, std::int32_t type_id) {
  return {-1, std::move(ids), type_id};
}

void read_bert(const Json& json, PostProcessing& out) {
  const std::int32_t cls = read_token(json, "cls"), sep = read_token(json, "sep");
  out.single = {special({cls}, 0), {0, {}, 0}, special({sep}, 0)};
  out.pair = out.single;
  out.pair.push_back({1, {}, 1});
  out.pair.push_back(special({sep}, 1));
}

void read_byte_level(const Json& json, PostProcessing& out) {
  if (!json.boolean("trim_offsets", true)) return;
  out.trim_offsets = true;
  out.add_prefix_space = json.boolean("add_prefix_space", true);
}

void read_roberta(const Json& json, PostProcessing& out) {
  const std::int32_t cls = read_token(json, "cls"), sep = read_token(json, "sep");
  read_byte_level(json, out);
  out.single = {special({cls}, 0), {0, {}, 0}, special({sep}, 0)};
  out.pair = out.single;
  out.pair.push_back(special({sep}, 0));
  out.pair.push_back({1, {}, 0});
  out.pair.push_back(special({sep}, 0));
}

std::vector<std::int32_t> ids_of_token(const Json& tokens, const std::string& name,
                                       const std::string& place) {
  const Json* token = tokens.find(name);
  if (token == nullptr) fail(place, "\"" + name + "\" is not in special_tokens");
  const Json& list = token->get("ids");
  if (list.size() > kMaxItems) fail(list.place(), "too many ids");
  std::vector<std::int32_t> ids;
  for (std::size_t i = 0; i < list.items().size(); ++i) {
    ids.push_back(read_id(list.at(i), list.place_of(i)));
  }
  return ids;
}

Item read_item(const Json& json, const Json& tokens) {
  if (!json.is_object() || json.size() != 1) {
    fail(json.place(), "expected { \"Sequence\": … } or { \"SpecialToken\": … }");
  }
  const auto& [kind, value] = json.members().front();
  Item item;
  const std::string& id = value.string("id");
  item.type_id = static_cast<std::int32_t>(value.integer_in("type_id", 0, 1 << 20));
  if (kind == "SpecialToken") {
    item.ids = ids_of_token(tokens, id, value.place());
  } else if (kind == "Sequence" && (id == "A" || id == "B")) {
    item.text = id == "A" ? 0 : 1;
  } else {
    fail(json.place(), "expected a SpecialToken or the Sequence A or B, got " + kind + " " + id);
  }
  return item;
}

std::vector<Item> read_template(const Json& list, const Json& tokens, bool pair) {
  const std::vector<Json>& entries = list.items();
  if (entries.size() > kMaxItems) fail(list.place(), "too many entries");
  std::vector<Item> items;
  int texts[2] = {0, 0};
  for (const Json& entry : entries) {
    items.push_back(read_item(entry, tokens));
    if (items.back().text >= 0) ++texts[items.back().text];
  }
  if (texts[0] == 0 && !pair) fail(list.place(), "the text (Sequence A) is missing");
  if (!pair && texts[1] > 0) fail(list.place(), "a single text has no Sequence B");
  if (pair && (texts[0] == 0 || texts[1] == 0)) fail(list.place(), "needs Sequence A and B");
  if (texts[0] > 4 || texts[1] > 4) fail(list.place(), "a text is repeated too often");
  return items;
}

void read_template_processing(const Json& json, PostProcessing& out) {
  const Json* found = json.find_value("special_tokens");
  const Json tokens = found == nullptr ? Json::object() : *found;
  tokens.members();  // throws where it is no object
  out.single = read_template(json.get("single"), tokens, false);
  if (json.find_value("pair") != nullptr) out.pair = read_template(json.get("pair"), tokens, true);
}

/// `puts` becomes true where the processor decides what is put around texts.
void read_one(const Json& json, PostProcessing& out, bool& puts, int depth) {
  const std::string& type = json.string("type");
  if (type == "Sequence") {
    if (depth > 4) fail(json.place(), "too many sequences inside one another");
    for (const Json& step : steps_of(json.get("processors"))) read_one(step, out, puts, depth + 1);
    return;
  }
  if (type == "ByteLevel") return read_byte_level(json, out);
  void (*reader)(const Json&, PostProcessing&) = nullptr;
  if (type == "TemplateProcessing") reader = read_template_processing;
  if (type == "BertProcessing") reader = read_bert;
  if (type == "RobertaProcessing") reader = read_roberta;
  if (reader == nullptr) {
    throw Error(ErrorCode::unsupported, "load",
                json.place() + ": the post-processor " + type + " is not known")
        .hint(
            "known are TemplateProcessing, BertProcessing, RobertaProcessing, ByteLevel and "
            "Sequence");
  }
  if (puts) {
    throw Error(ErrorCode::unsupported, "load",
                json.place() + ": " + type + " is the second post-processor that puts tokens in");
  }
  puts = true;
  reader(json, out);
}

}  // namespace

PostProcessing read_post_processor(const Json& json) {
  PostProcessing out;
  if (json.is_null()) return out;
  bool puts = false;
  read_one(json, out, puts, 0);
  return out;
}

}  // namespace perilune
