// Checkpoint: named weights of a folder or GGUF file.
#include <algorithm>
#include <cstdio>
#include <set>

#include "bindings/lua/edge/json.h"

#include "bindings/lua/models/checkpoint.h"
#include "bindings/lua/models/checkpoint_options.h"
#include "bindings/lua/models/gguf_head.h"
#include "bindings/lua/models/save_checkpoint.h"
#include "bindings/lua/tensors/tensor_value.h"
#include "engine/weights/adapter_file.h"
#include "engine/weights/view_rows.h"

namespace perilune::lua {

namespace {

Checkpoint& open_checkpoint(lua_State* L, const char* op) {
  auto& object = self<CheckpointObject>(L, op);
  if (object.checkpoint == nullptr) {
    throw Error(ErrorCode::state, op, "the checkpoint was closed");
  }
  return *object.checkpoint;
}

int open_folder(lua_State* L) {
  const std::string folder = to_text(L, 1, "load", "path");
  push_object(
      L, CheckpointObject{Checkpoint::open(state(L).context, folder, checkpoint_options(L, 2))});
  return 1;
}

/// The module at the top: { module=, down=, up=, embedding=, up_bias=, whole=, bias=, scale= }.
AdapterModule to_adapter_module(lua_State* L) {
  Options options(L, lua_gettop(L), "load");
  AdapterModule module;
  module.module = options.text("module").value_or("");
  module.down = options.text("down").value_or("");
  module.up = options.text("up").value_or("");
  module.embedding = options.boolean("embedding").value_or(false);
  module.up_bias = options.text("up_bias").value_or("");
  module.whole = options.text("whole").value_or("");
  module.bias = options.text("bias").value_or("");
  module.scale = options.number("scale").value_or(1.0);
  options.done();
  return module;
}

/// ck:adapt(number, file, modules, views as core.checkpoint takes them) -> paths of modules
int adapt(lua_State* L) {
  auto& checkpoint = open_checkpoint(L, "load");
  const std::int64_t number = to_integer(L, 2, "load", "number");
  const std::string path = to_text(L, 3, "load", "path");
  expect_table(L, 4, "load", "modules");
  std::vector<AdapterModule> modules;
  const int count = static_cast<int>(lua_objlen(L, 4));
  for (int i = 1; i <= count; ++i) {
    lua_rawgeti(L, 4, i);
    modules.push_back(to_adapter_module(L));
    lua_pop(L, 1);
  }
  push_list(L, read_adapter(state(L).context, checkpoint, number, path, modules,
                            checkpoint_options(L, 5)));
  return 1;
}

/// ck:unread_adapters() -> paths of modules that an adapter changes and no pass asked for
int unread_adapters(lua_State* L) {
  push_list(L, open_checkpoint(L, "load").adapters().unread());
  return 1;
}

int has(lua_State* L) {
  const auto& checkpoint = open_checkpoint(L, "has");
  lua_pushboolean(L, checkpoint.has(to_text(L, 2, "has", "path")) ? 1 : 0);
  return 1;
}

int sizes(lua_State* L) {
  const auto found = open_checkpoint(L, "sizes").find(to_text(L, 2, "sizes", "name"));
  if (!found) return 0;
  push_list(L, found->sizes);
  return 1;
}

int names(lua_State* L) {
  push_list(L, open_checkpoint(L, "names").names());
  return 1;
}

int unread(lua_State* L) {
  push_list(L, open_checkpoint(L, "unread").unread());
  return 1;
}

int touch(lua_State* L) {
  open_checkpoint(L, "touch").touch(to_text(L, 2, "touch", "name"));
  return 0;
}

/// checkpoint:packed_bytes(device | nil)
int packed_bytes(lua_State* L) {
  const Device* on = optional_device(L, 2, "packed_bytes");
  push_integer(L, static_cast<std::int64_t>(open_checkpoint(L, "packed_bytes").packed_bytes(on)));
  return 1;
}

int tensor(lua_State* L) {
  auto& checkpoint = open_checkpoint(L, "tensor");
  const std::string name = to_text(L, 2, "tensor", "name");
  std::vector<std::string> axes;
  if (!lua_isnoneornil(L, 3)) {
    axes = to_texts(L, 3, "tensor", "axes");
  } else if (const auto found = checkpoint.find(name)) {
    for (std::size_t i = 1; i <= found->sizes.size(); ++i) {
      axes.push_back("axis" + std::to_string(i));
    }
  }
  push_tensor(L, checkpoint.tensor(name, axes));
  return 1;
}

/// copy(name, axes): f32, a script's own.
int copy(lua_State* L) {
  const auto& checkpoint = open_checkpoint(L, "weight");
  const std::string name = to_text(L, 2, "weight", "name");
  push_value(L, Value::of(checkpoint.copy(name, to_texts(L, 3, "weight", "axes"))));
  return 1;
}

int replace(lua_State* L) {
  auto& checkpoint = open_checkpoint(L, "set_weight");
  checkpoint.replace(to_text(L, 2, "set_weight", "name"), to_tensor(L, 3, "set_weight", "tensor"));
  return 0;
}

/// ck:replace_table(name, tensor)
int replace_table(lua_State* L) {
  auto& checkpoint = open_checkpoint(L, "load");
  checkpoint.replace_table(to_text(L, 2, "load", "name"), to_tensor(L, 3, "load", "tensor"));
  return 0;
}

/// ck:store_as(path, storage)
int store_as(lua_State* L) {
  auto& checkpoint = open_checkpoint(L, "quantize");
  const std::string path = to_text(L, 2, "quantize", "path");
  checkpoint.store_as(path, row_storage(to_text(L, 3, "quantize", "type"), "quantize"));
  return 0;
}

/// ck:store_blocks(path, storage, blocks): u8, rows of the storage's blocks.
int store_blocks(lua_State* L) {
  auto& checkpoint = open_checkpoint(L, "quantize");
  const std::string path = to_text(L, 2, "quantize", "path");
  const RowStorage storage = row_storage(to_text(L, 3, "quantize", "type"), "quantize");
  const Tensor given = to_tensor(L, 4, "quantize", "blocks");
  if (given.dtype() != DType::u8) {
    throw Error(ErrorCode::dtype, "quantize", "blocks are bytes (u8), not " + given.describe());
  }
  const Tensor plain = given.to_contiguous().to(given.context()->cpu_device());
  const auto* first = static_cast<const std::uint8_t*>(plain.data());
  checkpoint.store_blocks(path, storage, std::vector<std::uint8_t>(first, first + plain.bytes()));
  return 0;
}

/// ck:storage(path) -> "Q4_K", bytes; nothing where there is no such weight.
int storage(lua_State* L) {
  const auto view = open_checkpoint(L, "storage").find(to_text(L, 2, "storage", "name"));
  if (!view) return 0;
  if (view->sizes.size() == 2) {
    const RowStorage how = storage_of(*view);
    lua_pushstring(L, how.name());
    push_integer(L, how.row_bytes(view->sizes[1]) * view->sizes[0]);
    return 2;
  }
  std::int64_t bytes = static_cast<std::int64_t>(dtype_size(view->dtype));
  for (const std::int64_t size : view->sizes) bytes *= size;
  lua_pushstring(L, dtype_name(view->dtype));
  push_integer(L, bytes);
  return 2;
}

/// ck:metadata(key) -> text or nil
int metadata(lua_State* L) {
  const auto found = open_checkpoint(L, "metadata").metadata(to_text(L, 2, "metadata", "key"));
  if (!found) return 0;
  push_text(L, *found);
  return 1;
}

/// ck:to_save() -> name → the name whose elements it has too, "" for its own
int to_save(lua_State* L) {
  const auto names = open_checkpoint(L, "save").to_save();
  lua_newtable(L);
  for (const auto& [name, same_as] : names) set_field(L, name.c_str(), same_as);
  return 1;
}

int copy_all(lua_State* L) {
  push_object(L, CheckpointObject{open_checkpoint(L, "quantize").copy_of_all()});
  return 1;
}

int changed(lua_State* L) {
  lua_pushboolean(L, open_checkpoint(L, "changed").changed() ? 1 : 0);
  return 1;
}

/// FNV-1a over words, with the high bits folded back.
struct Hash {
  std::uint64_t value = 14695981039346656037ULL;
  void mix(std::uint64_t word) {
    value = (value ^ word) * 1099511628211ULL;
    value ^= value >> 29;
  }
};

void mix_tensor(Hash& hash, const TensorFile& file, const StoredTensor& stored,
                std::vector<std::uint64_t>& block) {
  for (const char letter : stored.name + " " + stored.type) {
    hash.mix(static_cast<unsigned char>(letter));
  }
  for (const std::int64_t size : stored.sizes) hash.mix(static_cast<std::uint64_t>(size));
  const std::uint64_t total = stored.end - stored.begin;
  for (std::uint64_t at = 0; at < total;) {
    const auto count = static_cast<std::size_t>(
        std::min<std::uint64_t>(total - at, block.size() * sizeof(std::uint64_t)));
    const std::size_t words = (count + 7) / 8;
    throw_if_interrupted("fingerprint");
    block[words - 1] = 0;
    file.read(stored, at, count, block.data());
    for (std::size_t i = 0; i < words; ++i) hash.mix(block[i]);
    at += count;
  }
}

/// All stored names, types, sizes and bytes as 16 hexadecimal digits.
int fingerprint(lua_State* L) {
  auto& checkpoint = open_checkpoint(L, "fingerprint");
  Hash hash;
  std::set<std::string> seen;
  std::vector<std::uint64_t> block(std::size_t{1} << 17);
  for (const std::string& name : checkpoint.names()) {
    const auto view = checkpoint.find(name);
    if (!view || !seen.insert(view->stored_name).second) continue;
    const StoredTensor* stored = view->file->find(view->stored_name);
    if (stored != nullptr) mix_tensor(hash, *view->file, *stored, block);
  }
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash.value));
  push_text(L, text);
  return 1;
}

int close(lua_State* L) {
  self<CheckpointObject>(L, "close").checkpoint = nullptr;
  return 0;
}

int main_dtype(lua_State* L) {
  lua_pushstring(L, dtype_name(open_checkpoint(L, "main_dtype").main_dtype()));
  return 1;
}

int main_blocks(lua_State* L) {
  const auto* format = open_checkpoint(L, "main_blocks").main_blocks();
  if (format == nullptr) return 0;
  lua_pushstring(L, format->name);
  return 1;
}

/// Whether the main blocks are for activations that are not rounded.
int weight_only(lua_State* L) {
  const auto* format = open_checkpoint(L, "weight_only").main_blocks();
  lua_pushboolean(L, format != nullptr && format->weight_only ? 1 : 0);
  return 1;
}

/// Whether the main blocks mean levels, which are no whole numbers.
int float_levels(lua_State* L) {
  const auto* format = open_checkpoint(L, "float_levels").main_blocks();
  lua_pushboolean(L, format != nullptr && format->coding.levels != nullptr ? 1 : 0);
  return 1;
}

int stored_bytes(lua_State* L) {
  push_integer(L, static_cast<std::int64_t>(open_checkpoint(L, "stored_bytes").stored_bytes()));
  return 1;
}

int folder(lua_State* L) {
  push_text(L, open_checkpoint(L, "folder").folder());
  return 1;
}

int tostring(lua_State* L) {
  const auto& object = self<CheckpointObject>(L, "tostring");
  push_text(L, object.checkpoint == nullptr ? "Checkpoint (closed)"
                                            : "Checkpoint " + object.checkpoint->folder());
  return 1;
}

}  // namespace

void add_checkpoint(lua_State* L) {
  constexpr Member kFunctions[] = {{"checkpoint", guarded<open_folder>},
                                   {"gguf_head", guarded<gguf_head>},
                                   {"gguf_values", guarded<gguf_values>}};
  set_functions(L, kFunctions);
  constexpr Member kMethods[] = {
      {"has", guarded<has>},
      {"sizes", guarded<sizes>},
      {"names", guarded<names>},
      {"unread", guarded<unread>},
      {"touch", guarded<touch>},
      {"packed_bytes", guarded<packed_bytes>},
      {"tensor", guarded<tensor>},
      {"copy", guarded<copy>},
      {"replace", guarded_once<replace>},
      {"replace_table", guarded_once<replace_table>},
      {"changed", guarded<changed>},
      {"store_as", guarded<store_as>},
      {"store_blocks", guarded<store_blocks>},
      {"storage", guarded<storage>},
      {"metadata", guarded<metadata>},
      {"copy_all", guarded<copy_all>},
      {"adapt", guarded<adapt>},
      {"unread_adapters", guarded<unread_adapters>},
      {"to_save", guarded<to_save>},
      {"save", guarded<save_checkpoint>},
      {"save_gguf", guarded<save_checkpoint_as_gguf>},
      {"close", guarded<close>},
      {"fingerprint", guarded<fingerprint>},
  };
  constexpr Member kGetters[] = {
      {"main_dtype", guarded<main_dtype>},     {"main_blocks", guarded<main_blocks>},
      {"weight_only", guarded<weight_only>},   {"float_levels", guarded<float_levels>},
      {"stored_bytes", guarded<stored_bytes>}, {"folder", guarded<folder>},
  };
  constexpr Member kOperators[] = {{"__tostring", guarded<tostring>}};
  register_type<CheckpointObject>(L, kMethods, kGetters, kOperators);
}

}  // namespace perilune::lua
