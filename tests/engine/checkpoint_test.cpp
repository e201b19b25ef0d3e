#include "engine/weights/checkpoint.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <numeric>

#include "engine/files/row_storage.h"
#include "engine/files/safetensors.h"
#include "engine/weights/views.h"
#include "tests/catch.h"
#include "tests/engine/store_support.h"

using namespace perilune;
using perilune_test::caught;
using perilune_test::TemporaryFolder;

namespace {

using Floats = std::vector<float>;

std::shared_ptr<Context> context() {
  return Context::make({.threads = 1});
}

/// 0, 1, 2, ... from `first` on.
Tensor counting(const std::shared_ptr<Context>& owner, const std::vector<std::int64_t>& sizes,
                float first = 0) {
  std::vector<Axis> axes;
  std::int64_t count = 1;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    axes.push_back({"x" + std::to_string(i), sizes[i], 0});
    count *= sizes[i];
  }
  Floats values(static_cast<std::size_t>(count));
  std::iota(values.begin(), values.end(), first);
  return Tensor::from(owner, values, Shape(axes));
}

using Named = std::vector<std::pair<std::string, Tensor>>;

std::shared_ptr<Checkpoint> open_with(const std::shared_ptr<Context>& owner,
                                      const TemporaryFolder& folder, const Named& tensors,
                                      const CheckpointOptions& options = {}) {
  write_safetensors(folder.file("model.safetensors"), tensors);
  return Checkpoint::open(owner, folder.path(), options);
}

/// The matrix as its packed form gives it back.
Floats unpacked(const std::shared_ptr<Context>& owner, const Weight& weight,
                kernels::MathMode math = kernels::MathMode::f32) {
  Device& device = owner->cpu();
  const kernels::PackedMatrix packed = weight.packed(device, math);
  std::vector<std::int64_t> rows(static_cast<std::size_t>(weight.outputs()));
  std::iota(rows.begin(), rows.end(), 0);
  Floats values(rows.size() * static_cast<std::size_t>(weight.inputs()));
  device.kernels().unpack_rows(device.launch(), packed, rows.data(), weight.outputs(),
                               values.data());
  return values;
}

void check_weight(const std::shared_ptr<Context>& owner, Checkpoint& checkpoint,
                  const std::string& path, const Floats& expected) {
  INFO(path);
  const auto weight = checkpoint.weight(path);
  CHECK(weight->to_tensor().to_floats() == expected);
  CHECK(unpacked(owner, *weight) == expected);
}

}  // namespace

TEST_CASE("patterns fit names component by component") {
  CHECK(matches_pattern("h.*.attn.c_attn", "h.11.attn.c_attn"));
  CHECK_FALSE(matches_pattern("h.*.attn.c_attn", "h.1.2.attn.c_attn"));
  CHECK_FALSE(matches_pattern("h.*.attn", "h.11.attn.c_attn"));
  CHECK(matches_pattern("*.LayerNorm.gamma", "encoder.layer.0.output.LayerNorm.gamma"));
  CHECK(matches_pattern("*.LayerNorm.gamma", "LayerNorm.gamma"));
  CHECK_FALSE(matches_pattern("*.LayerNorm.gamma", "xLayerNorm.gamma"));
  CHECK(matches_pattern("*norm", "layers.0.input_norm"));
  CHECK_FALSE(matches_pattern("*norm", "layers.0.norm.weight"));
  CHECK(matches_pattern("*", "anything.at.all"));
  CHECK(matches_pattern("a.*", "a.b"));
  CHECK_FALSE(matches_pattern("a.*", "a."));
  CHECK_FALSE(matches_pattern("a.*", "a.b.c"));
  CHECK(match_captures("layers.*.x.*", "layers.3.x.q") == std::vector<std::string>{"3", "q"});
  CHECK(fill_pattern("h.*.y.*", {"3", "q"}) == "h.3.y.q");
  CHECK(fill_pattern("*.LayerNorm.weight", {""}) == "LayerNorm.weight");
  CHECK(strip_prefix("model.decoder.x", {"model.", "model.decoder."}) == "x");
  CHECK(strip_prefix("model.", {"model."}) == "model.");
}

TEST_CASE("a checkpoint answers by module and by tensor") {
  const auto owner = context();
  const TemporaryFolder folder;
  const auto checkpoint =
      open_with(owner, folder,
                {{"model.layers.0.q.weight", counting(owner, {2, 3})},
                 {"model.layers.0.q.bias", counting(owner, {2}).to(DType::bf16)},
                 {"model.norm.weight", counting(owner, {3})},
                 {"lm_head.weight", counting(owner, {4, 3}).to(DType::f16)},
                 {"model.position_ids", counting(owner, {4}).to(DType::i64)}},
                {.prefixes = {"model."}, .unused = {"position_ids"}});
  CHECK(checkpoint->has("layers.0.q"));
  CHECK(checkpoint->has("layers.0.q.bias"));
  CHECK_FALSE(checkpoint->has("layers.0"));
  CHECK_FALSE(checkpoint->has("model.layers.0.q"));
  CHECK(checkpoint->find("lm_head")->sizes == std::vector<std::int64_t>{4, 3});
  CHECK_FALSE(checkpoint->find("absent").has_value());
  CHECK(checkpoint->main_dtype() == DType::f32);
  CHECK(checkpoint->stored_bytes() == 24 + 4 + 12 + 24 + 32);
  CHECK(checkpoint->unread() == std::vector<std::string>{"lm_head.weight", "model.layers.0.q.bias",
                                                         "model.layers.0.q.weight",
                                                         "model.norm.weight"});
  const auto weight = checkpoint->weight("layers.0.q");
  CHECK(weight == checkpoint->weight("layers.0.q"));
  CHECK(weight->describe() == "f32[2, 3]");
  CHECK(weight->to_tensor("head", "hidden").describe() == "f32[head=2, hidden=3] cpu");
  CHECK(unpacked(owner, *weight) == Floats{0, 1, 2, 3, 4, 5});
  CHECK(checkpoint->packed_bytes() == weight->packed_bytes());
  CHECK(weight->packed_bytes() > 0);
  const Tensor bias = checkpoint->tensor("layers.0.q.bias", {"ffn"});
  CHECK(bias.describe() == "f32[ffn=2] cpu");
  CHECK(bias.read_only());
  CHECK(checkpoint->tensor("layers.0.q.bias", {"other"}).data() == bias.data());
  checkpoint->touch("norm");
  CHECK(checkpoint->unread() == std::vector<std::string>{"lm_head.weight"});
  checkpoint->touch("absent");
  checkpoint->touch("lm_head.weight");
  CHECK(checkpoint->unread().empty());
  const auto absent = caught([&] { checkpoint->weight("layers.0.k"); });
  CHECK(absent.code == ErrorCode::format);
  CHECK(absent.has("the checkpoint has no tensor \"layers.0.k.weight\""));
  CHECK(absent.has("did you mean \"layers.0.q.weight\"?"));
  CHECK(caught([&] { checkpoint->tensor("lm_head.weight", {"vocab"}); }).code == ErrorCode::shape);
  CHECK(caught([&] { checkpoint->weight("norm"); }).has("should have 2 axes"));
  CHECK(caught([&] { checkpoint->weight("position_ids"); }).code == ErrorCode::unsupported);
}

TEST_CASE("bf16 and f16 weights pack without loss") {
  const auto owner = context();
  const TemporaryFolder folder;
  const Tensor matrix = counting(owner, {37, 19}, -300);
  const auto checkpoint = open_with(
      owner, folder, {{"a.weight", matrix.to(DType::bf16)}, {"b.weight", matrix.to(DType::f16)}});
  CHECK(checkpoint->main_dtype() == DType::f16);
  check_weight(owner, *checkpoint, "a", matrix.to(DType::bf16).to_floats());
  check_weight(owner, *checkpoint, "b", matrix.to_floats());
  CHECK(checkpoint->weight("a")->format() == kernels::WeightFormat::bf16);
  CHECK(unpacked(owner, *checkpoint->weight("a"), kernels::MathMode::bf16) ==
        matrix.to(DType::bf16).to_floats());
}

TEST_CASE("transposed and split like GPT-2") {
  const auto owner = context();
  for (const bool map : {false, true}) {
    const TemporaryFolder folder;
    // Conv1D [in=2, out=6]: element (i, o) = 6 i + o.
    const auto checkpoint = open_with(owner, folder,
                                      {{"h.0.attn.c_attn.weight", counting(owner, {2, 6})},
                                       {"h.0.attn.c_attn.bias", counting(owner, {6}, 100)}},
                                      {.views = {{.pattern = "h.*.attn.c_attn",
                                                  .transpose = true,
                                                  .split = {{"q", {}}, {"k", {}}, {"v", {}}}}},
                                       .map = map});
    check_weight(owner, *checkpoint, "h.0.attn.c_attn.q", {0, 6, 1, 7});
    check_weight(owner, *checkpoint, "h.0.attn.c_attn.v", {4, 10, 5, 11});
    CHECK(checkpoint->tensor("h.0.attn.c_attn.k.bias", {"o"}).to_floats() == Floats{102, 103});
    CHECK_FALSE(checkpoint->has("h.0.attn.c_attn"));
    // The stored tensor is read when all of its parts are.
    CHECK(checkpoint->unread() ==
          std::vector<std::string>{"h.0.attn.c_attn.bias", "h.0.attn.c_attn.weight"});
    checkpoint->touch("h.0.attn.c_attn.k");
    CHECK(checkpoint->unread() == std::vector<std::string>{"h.0.attn.c_attn.bias"});
  }
}

TEST_CASE("split by head like GPT-NeoX") {
  const auto owner = context();
  const TemporaryFolder folder;
  // Rows are [head=2, part=3, head_dim=2], one input: row r holds r.
  const auto checkpoint = open_with(
      owner, folder,
      {{"l.0.qkv.weight", counting(owner, {12, 1})},
       {"l.0.qkv.bias", counting(owner, {12}, 100)},
       {"l.1.qkv.weight", counting(owner, {12, 2})}},
      {.views = {{.pattern = "l.*.qkv", .split = {{"q", {}}, {"k", {}}, {"v", {}}}, .per = "head"}},
       .axes = {{"head", 2}}});
  check_weight(owner, *checkpoint, "l.0.qkv.q", {0, 1, 6, 7});
  check_weight(owner, *checkpoint, "l.0.qkv.k", {2, 3, 8, 9});
  check_weight(owner, *checkpoint, "l.0.qkv.v", {4, 5, 10, 11});
  check_weight(owner, *checkpoint, "l.1.qkv.k", {4, 5, 6, 7, 16, 17, 18, 19});
  CHECK(checkpoint->tensor("l.0.qkv.k.bias", {"o"}).to_floats() == Floats{102, 103, 108, 109});
}

TEST_CASE("split by the sizes of axes") {
  const auto owner = context();
  const TemporaryFolder folder;
  const WeightView view{
      .pattern = "l.*.qkv",
      .split = {{"q", {"head", "dim"}}, {"k", {"kv_head", "dim"}}, {"v", {"kv_head", "dim"}}}};
  const std::map<std::string, std::int64_t> axes = {{"head", 4}, {"kv_head", 2}, {"dim", 2}};
  const Named tensors = {{"l.0.qkv.weight", counting(owner, {16, 1})}};
  const auto plain = open_with(owner, folder, tensors, {.views = {view}, .axes = axes});
  check_weight(owner, *plain, "l.0.qkv.q", {0, 1, 2, 3, 4, 5, 6, 7});
  check_weight(owner, *plain, "l.0.qkv.v", {12, 13, 14, 15});
  // Stored [kv_head, (2 queries, key, value), dim].
  WeightView grouped = view;
  grouped.per = "kv_head";
  const auto per = open_with(owner, folder, tensors, {.views = {grouped}, .axes = axes});
  check_weight(owner, *per, "l.0.qkv.q", {0, 1, 2, 3, 8, 9, 10, 11});
  check_weight(owner, *per, "l.0.qkv.k", {4, 5, 12, 13});
  check_weight(owner, *per, "l.0.qkv.v", {6, 7, 14, 15});

  auto wrong = axes;
  wrong["head"] = 3;
  const auto error =
      caught([&] { open_with(owner, folder, tensors, {.views = {view}, .axes = wrong}); });
  CHECK(error.code == ErrorCode::format);
  CHECK(error.has("has 16 outputs, the config's parts are q 6 + k 4 + v 4 = 14"));
  wrong.erase("head");
  CHECK(caught([&] {
          open_with(owner, folder, tensors, {.views = {view}, .axes = wrong});
        }).has("gives axis \"head\" no size"));
  const WeightView thirds{.pattern = "l.*.qkv", .split = {{"q", {}}, {"k", {}}, {"v", {}}}};
  CHECK(caught([&] {
          open_with(owner, folder, tensors, {.views = {thirds}});
        }).has("has 16 outputs, which do not split into 3 equal parts"));
}

TEST_CASE("names are changed, and may not collide") {
  const auto owner = context();
  const TemporaryFolder folder;
  const Named tensors = {{"e.0.LayerNorm.gamma", counting(owner, {2})},
                         {"e.0.LayerNorm.beta", counting(owner, {2})},
                         {"embed_out.weight", counting(owner, {2, 2})}};
  const CheckpointOptions options = {
      .views = {{.pattern = "*.LayerNorm.gamma", .rename = "*.LayerNorm.weight"},
                {.pattern = "*.LayerNorm.beta", .rename = "*.LayerNorm.bias"},
                {.pattern = "embed_out", .rename = "lm_head"},
                {.pattern = "lm_head", .transpose = true}}};
  const auto checkpoint = open_with(owner, folder, tensors, options);
  CHECK(checkpoint->names() ==
        std::vector<std::string>{"e.0.LayerNorm.bias", "e.0.LayerNorm.weight", "lm_head.weight"});
  check_weight(owner, *checkpoint, "lm_head", {0, 2, 1, 3});
  const auto collision = caught([&] {
    open_with(owner, folder, {{"a.x", counting(owner, {1})}, {"x", counting(owner, {1})}},
              {.prefixes = {"a."}});
  });
  CHECK(collision.code == ErrorCode::format);
  CHECK(collision.has("two stored tensors mean \"x\": \"a.x\" and \"x\""));
  CHECK(caught([&] {
          open_with(owner, folder, tensors,
                    {.views = {{.pattern = "embed_out", .rename = "lm_head"},
                               {.pattern = "*_out", .rename = "head"}}});
        }).has("also fits view \"embed_out\""));
  CHECK(caught([&] {
          open_with(owner, folder, {{"c.weight", counting(owner, {2, 2, 2})}},
                    {.views = {{.pattern = "c", .transpose = true}}});
        }).has("has 3 axes, transposing needs 2"));
}

TEST_CASE("of a weight under its name and under a renamed one the renamed is read") {
  const auto owner = context();
  const TemporaryFolder folder;
  const Tensor own = counting(owner, {2, 2});
  const Tensor other = Tensor::from(owner, std::vector<float>{9, 8, 7, 6}, own.shape());
  for (const char* stored : {"embed_out", "old_head"}) {  // before and behind lm_head
    const CheckpointOptions options = {.views = {{.pattern = stored, .rename = "lm_head"}}};
    const std::string name = std::string(stored) + ".weight";
    const auto differing =
        open_with(owner, folder, {{"lm_head.weight", own}, {name, other}}, options);
    check_weight(owner, *differing, "lm_head", {9, 8, 7, 6});
    CHECK(differing->unread().empty());
    const auto same = open_with(owner, folder, {{"lm_head.weight", own}, {name, own}}, options);
    check_weight(owner, *same, "lm_head", {0, 1, 2, 3});
    CHECK(same->unread().empty());
  }
}

TEST_CASE("folders without readable weights say what is there") {
  const auto owner = context();
  const TemporaryFolder folder;
  const auto open = [&] { return caught([&] { Checkpoint::open(owner, folder.path(), {}); }); };
  CHECK(open().has("no model.safetensors and no model.safetensors.index.json there"));
  folder.write("other.safetensors", "x");
  CHECK(open().has("found other.safetensors"));
  folder.write("pytorch_model.bin", "x");
  CHECK(open().has("pickled files are never read"));
  CHECK(open().code == ErrorCode::file);
  CHECK(caught([&] {
          Checkpoint::open(owner, folder.file("absent"), {});
        }).has("there is no such folder"));
}

TEST_CASE("shards are read through their index") {
  std::vector<std::string> warnings;
  const auto owner = Context::make(
      {.threads = 1, .on_warning = [&](auto text, auto) { warnings.emplace_back(text); }});
  const TemporaryFolder folder;
  write_safetensors(folder.file("m-1.safetensors"), {{"a.weight", counting(owner, {2, 2})}});
  write_safetensors(folder.file("m-2.safetensors"),
                    {{"b.weight", counting(owner, {2, 2}, 9)}, {"extra", counting(owner, {2})}});
  const auto open = [&](const std::string& map) {
    folder.write("model.safetensors.index.json",
                 R"({"metadata":{"total_size":32},"weight_map":)" + map + "}");
    return Checkpoint::open(owner, folder.path(), {});
  };
  const auto fails = [&](const std::string& map) { return caught([&] { open(map); }); };
  const auto checkpoint = open(R"({"a.weight":"m-1.safetensors","b.weight":"m-2.safetensors"})");
  check_weight(owner, *checkpoint, "b", {9, 10, 11, 12});
  CHECK(checkpoint->names() == std::vector<std::string>{"a.weight", "b.weight", "extra"});
  REQUIRE(warnings.size() == 1);
  CHECK(warnings[0] == "m-2.safetensors holds tensors that the index does not list there: extra");
  const auto missing =
      fails(R"({"a.weight":"m-1.safetensors","b":"m-3.safetensors","c":"m-4.safetensors"})");
  CHECK(missing.code == ErrorCode::file);
  CHECK(missing.has("2 of 3 shards are missing: m-3.safetensors, m-4.safetensors"));
  CHECK(fails(R"({"a.weight":"m-2.safetensors"})")
            .has("lists tensors that are not there: \"a.weight\" in m-2.safetensors"));
  for (const char* name : {"../m-1.safetensors", "/etc/passwd", "", "..", "a\\\\b"}) {
    INFO(name);
    CHECK(fails(std::string(R"({"a.weight":")") + name + "\"}").has("not a file of this folder"));
  }
  CHECK(fails(R"({"a.weight":"m\u0000"})").code == ErrorCode::format);
  CHECK(fails("[]").code == ErrorCode::format);
  CHECK(fails(R"({"a.weight":1})").code == ErrorCode::format);
  folder.write("model.safetensors.index.json", "{}");
  CHECK(caught([&] { Checkpoint::open(owner, folder.path(), {}); }).has("weight_map"));
  // A single file goes before an index.
  write_safetensors(folder.file("model.safetensors"), {{"c.weight", counting(owner, {1, 1})}});
  CHECK(Checkpoint::open(owner, folder.path(), {})->has("c"));
}

TEST_CASE("weights are charged to the budget, and only one copy stays") {
  const auto writer = context();
  const TemporaryFolder folder;
  write_safetensors(folder.file("model.safetensors"), {{"a.weight", counting(writer, {64, 64})}});
  const auto owner = Context::make({.threads = 1, .memory_budget = 40000});
  const auto checkpoint = Checkpoint::open(owner, folder.path(), {});
  CHECK(owner->cpu().memory().used == 0);
  const auto weight = checkpoint->weight("a");
  CHECK(owner->cpu().memory().used == 0);
  const auto first = weight->packed(owner->cpu(), kernels::MathMode::f32);
  CHECK(owner->cpu().memory().used == weight->packed_bytes());
  CHECK(owner->cpu().memory().peak == weight->packed_bytes());  // nothing stood beside it
  CHECK(weight->packed(owner->cpu(), kernels::MathMode::f32).data == first.data);
  const Tensor rest = Tensor::make(owner, DType::u8, Shape{{"x", 20000, 0}});
  CHECK(caught([&] { weight->to_tensor(); }).code == ErrorCode::memory);
  CHECK(caught([&] {
          weight->packed(Context::make({.threads = 1})->cpu(), kernels::MathMode::bf16);
        }).code == ErrorCode::device);
}

/// Bytes of this process's most resident memory since the last call; 0 where that cannot be told.
std::size_t peak_resident() {
  std::ifstream status("/proc/self/status");
  std::size_t kilobytes = 0;
  for (std::string word; status >> word;) {
    if (word == "VmHWM:") status >> kilobytes;
  }
  std::ofstream reset("/proc/self/clear_refs");
  return reset << "5" << std::flush ? kilobytes * 1024 : 0;
}

TEST_CASE("packing takes the memory of what it makes, and a part for each thread") {
  const char* sanitizer = std::getenv("PERILUNE_SANITIZE");
  if (sanitizer != nullptr && *sanitizer != '\0') {
    PERILUNE_SKIP("a sanitizer keeps memory of its own");
  }
  const TemporaryFolder folder;
  {
    const auto writer = context();
    const Shape shape{{"x", 1 << 13, 0}, {"y", 1 << 11, 0}};  // 64 MiB
    write_safetensors(folder.file("model.safetensors"),
                      {{"a.weight", Tensor::from(writer, Floats(1 << 24, 0.5f), shape)}});
  }
  const auto owner = Context::make({.threads = 2});
  for (const bool blocks : {false, true}) {
    const auto checkpoint = Checkpoint::open(owner, folder.path(), {});
    if (blocks) checkpoint->store_as("a", row_storage("q8_0", "test"));
    const auto weight = checkpoint->weight("a");
    peak_resident();
    const std::size_t before = peak_resident();
    if (before == 0) PERILUNE_SKIP("the system does not tell of peaks of memory");
    weight->packed(owner->cpu(), kernels::MathMode::int8);
    const std::size_t grown = peak_resident() - before;
    CAPTURE(blocks, grown, weight->packed_bytes());
    CHECK(grown < weight->packed_bytes() * 11 / 10 + (4 << 20));
  }
}
