// What each userdata holds, and the functions that add them to a state.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bindings/lua/edge/arguments.h"
#include "bindings/lua/text/encoded_text.h"
#include "engine/base/json.h"
#include "engine/batch/batch.h"
#include "engine/cache/cache.h"
#include "engine/plan/plan.h"
#include "engine/program/net.h"
#include "engine/serving/scheduler.h"
#include "engine/text/tokenizer/tokenizer.h"
#include "engine/weights/checkpoint.h"

namespace perilune::lua {

/// A Tensor of scripts: real, or symbolic while a pass is traced.
template <>
struct TypeName<Value> {
  static constexpr const char* value = "Tensor";
};

struct BatchObject {
  std::shared_ptr<const Batch> batch;
  std::shared_ptr<const Tokenizer> tokenizer;           // prints pieces where there is one
  std::shared_ptr<const std::vector<RowPlace>> places;  // a row's text; null where rows were ids
};
template <>
struct TypeName<BatchObject> {
  static constexpr const char* value = "Batch";
};

using TokenizerPointer = std::shared_ptr<Tokenizer>;
template <>
struct TypeName<TokenizerPointer> {
  static constexpr const char* value = "Tokenizer";
};

using DecoderPointer = std::shared_ptr<StreamDecoder>;
template <>
struct TypeName<DecoderPointer> {
  static constexpr const char* value = "Decoder";
};

struct CheckpointObject {
  std::shared_ptr<Checkpoint> checkpoint;  // null after close()
};
template <>
struct TypeName<CheckpointObject> {
  static constexpr const char* value = "Checkpoint";
};

struct BoundPass;

/// A pass that records (trace) or runs (eager). Its environment table holds `config`.
struct PassObject {
  std::shared_ptr<TracePass> trace;
  std::shared_ptr<EagerPass> eager;
  std::shared_ptr<NetState> net;
  std::shared_ptr<BoundPass> bound;  // eager: the batch, its caches
  std::vector<std::pair<std::string, Value>> outputs;
  bool finished = false;

  std::shared_ptr<Pass> pass() const;
};
template <>
struct TypeName<PassObject> {
  static constexpr const char* value = "Pass";
};

/// Its environment table is its pass' own.
template <>
struct TypeName<Net> {
  static constexpr const char* value = "Net";
};
template <>
struct TypeName<KvHandle> {
  static constexpr const char* value = "KeysAndValues";
};
using RopePointer = std::shared_ptr<const RopeOptions>;
template <>
struct TypeName<RopePointer> {
  static constexpr const char* value = "RopeOptions";
};
using RelativeBiasPointer = std::shared_ptr<const RelativeBias>;
template <>
struct TypeName<RelativeBiasPointer> {
  static constexpr const char* value = "RelativeBias";
};
using ProgramPointer = std::shared_ptr<const Program>;
template <>
struct TypeName<ProgramPointer> {
  static constexpr const char* value = "Program";
};

struct PlanObject {
  std::shared_ptr<const Plan> plan;
  std::shared_ptr<Execution> execution;  // kept between runs; null while one runs
};
template <>
struct TypeName<PlanObject> {
  static constexpr const char* value = "Plan";
};

using CachePointer = std::shared_ptr<Cache>;
template <>
struct TypeName<CachePointer> {
  static constexpr const char* value = "Cache";
};
using SequencePointer = std::shared_ptr<SequenceCache>;
template <>
struct TypeName<SequencePointer> {
  static constexpr const char* value = "Sequence";
};

/// A scheduler and what scripts gave it. Lua values (policy, hooks, queue entries) lie in the
/// environment table that the engine and its requests share, so that the collector sees cycles:
///   engine    the engine's userdata         policy    as given
///   requests  id -> userdata, weak          hooks     id -> { processors=, stop_when=, ... }
///   entries   id -> a policy's queue entry
///   tags      a request's name for its tag -> the tag, where it is no text
struct EngineObject {
  std::unique_ptr<Scheduler> scheduler;              // null after close()
  std::map<std::uint64_t, RequestPointer> requests;  // not done, or with events to deliver
  lua_State* frame = nullptr;  // where index 1 is the engine or one of its requests; else null
  bool stepping = false;
  std::uint64_t tags = 0;  // how many tags that are no text were given
};
template <>
struct TypeName<EngineObject> {
  static constexpr const char* value = "Engine";
};

struct RequestObject {
  RequestPointer request;
  EngineObject* engine = nullptr;  // alive: the environment table holds it
};
template <>
struct TypeName<RequestObject> {
  static constexpr const char* value = "Request";
};

struct TensorFileObject {
  std::shared_ptr<const TensorFile> file;
};
template <>
struct TypeName<TensorFileObject> {
  static constexpr const char* value = "TensorFile";
};

// Each adds its types, and its functions to the table on top of the stack.
void add_state_functions(lua_State* L);
void add_file_functions(lua_State* L);
void add_tensor(lua_State* L);
void add_tensor_makers(lua_State* L);
void add_batch(lua_State* L);
void add_tokenizer(lua_State* L);
void add_checkpoint(lua_State* L);
void add_pass(lua_State* L);
void add_net(lua_State* L);
void add_plan(lua_State* L);
void add_cache(lua_State* L);
void add_engine(lua_State* L);
void add_measure(lua_State* L);

/// Sets functions in the table on top of the stack.
void set_functions(lua_State* L, std::span<const Member> functions);

/// JSON between the engine's values and Lua's. Null becomes nil; lists made by core.array, and
/// tables with entries 1..n, become arrays.
void push_json(lua_State* L, const Json& value);

}  // namespace perilune::lua
