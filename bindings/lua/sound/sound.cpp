// core: sound files, rates, log-mel features.
#include "bindings/lua/sound/sound.h"

#include <memory>

#include "bindings/lua/tensors/tensor_value.h"
#include "engine/sound/alignment.h"
#include "engine/sound/compressed_size.h"
#include "engine/sound/log_mel.h"
#include "engine/sound/sound_reader.h"

namespace perilune::lua {

struct SoundObject {
  std::unique_ptr<SoundReader> reader;
};
template <>
struct TypeName<SoundObject> {
  static constexpr const char* value = "Sound";
};

namespace {

SoundReader& open_reader(lua_State* L, const char* op) {
  SoundObject& object = self<SoundObject>(L, op);
  if (object.reader == nullptr) throw Error(ErrorCode::state, op, "the sound was closed");
  return *object.reader;
}

/// A rate in samples a second; what the engine refuses beyond an int is refused here.
int to_rate(std::int64_t rate, const char* op, const char* name) {
  if (rate >= kLeastSoundRate && rate <= kMostSoundRate) return static_cast<int>(rate);
  throw Error(ErrorCode::option, op,
              std::string("option ") + name + ": " + std::to_string(rate) +
                  " samples a second is not from " + std::to_string(kLeastSoundRate) + " to " +
                  std::to_string(kMostSoundRate));
}

void push_samples(lua_State* L, const std::vector<float>& samples) {
  const Shape shape{Axis{"sample", static_cast<std::int64_t>(samples.size()), 0}};
  push_value(L, Value::of(Tensor::from(state(L).context, samples, shape)));
}

std::vector<float> to_samples(lua_State* L, int index, const char* op) {
  const Tensor& samples = to_tensor(L, index, op, "samples");
  if (samples.shape().rank() != 1) {
    throw Error(ErrorCode::shape, op, "samples have one axis")
        .operand("samples", samples.describe());
  }
  return samples.to_floats();
}

/// sound_open(path, rate, follow) -> Sound
int open_sound(lua_State* L) {
  const std::string path = to_text(L, 1, "sound.open", "path");
  SoundReading reading;
  reading.rate = to_rate(to_integer(L, 2, "sound.open", "rate"), "sound.open", "rate");
  reading.follow = to_boolean(L, 3, "sound.open", "follow");
  push_object(L, SoundObject{SoundReader::open(path, reading)});
  return 1;
}

/// sound:read(most) -> Tensor[sample], or nil at the end
int read(lua_State* L) {
  SoundReader& reader = open_reader(L, "read");
  const std::int64_t most = to_integer(L, 2, "read", "samples");
  if (most < 1) throw Error(ErrorCode::argument, "read", "samples: expected 1 or more");
  const auto samples = reader.read(static_cast<std::size_t>(most));
  if (samples.empty()) {
    lua_pushnil(L);
  } else {
    push_samples(L, samples);
  }
  return 1;
}

int close(lua_State* L) {
  self<SoundObject>(L, "close").reader = nullptr;
  return 0;
}

int channels(lua_State* L) {
  push_integer(L, open_reader(L, "channels").info().channels);
  return 1;
}

int rate(lua_State* L) {
  push_integer(L, open_reader(L, "rate").info().rate);
  return 1;
}

int format(lua_State* L) {
  push_text(L, open_reader(L, "format").info().format);
  return 1;
}

/// Seconds, nil where only reading to the end tells.
int seconds(lua_State* L) {
  const SoundInfo& info = open_reader(L, "seconds").info();
  if (info.frames > 0) {
    lua_pushnumber(L, static_cast<double>(info.frames) / info.rate);
  } else {
    lua_pushnil(L);
  }
  return 1;
}

/// sound_write(path, samples, rate, "i16"|"f32")
int write(lua_State* L) {
  const std::string path = to_text(L, 1, "sound.write", "path");
  const auto samples = to_samples(L, 2, "sound.write");
  const int rate = to_rate(to_integer(L, 3, "sound.write", "rate"), "sound.write", "rate");
  const bool floats = to_text(L, 4, "sound.write", "store") == "f32";
  write_sound(path, samples, rate, floats ? SoundStore::f32 : SoundStore::pcm16);
  return 0;
}

/// resample(samples, from, to) -> Tensor[sample]
int resample_samples(lua_State* L) {
  const auto samples = to_samples(L, 1, "sound.resample");
  const int from = to_rate(to_integer(L, 2, "sound.resample", "from"), "sound.resample", "from");
  const int to = to_rate(to_integer(L, 3, "sound.resample", "to"), "sound.resample", "to");
  push_samples(L, resample(samples, from, to));
  return 1;
}

/// log_mel(samples, mels, frames) -> Tensor[frame, mel]
int log_mel_features(lua_State* L) {
  const auto samples = to_samples(L, 1, "sound.log_mel");
  const std::int64_t mels = to_integer(L, 2, "sound.log_mel", "mels");
  const std::int64_t frames = to_integer(L, 3, "sound.log_mel", "frames");
  constexpr std::int64_t kMostFrames = std::int64_t{1} << 32;
  if (mels < 1 || mels > LogMel::kMostMels || frames < 0 || frames > kMostFrames) {
    throw Error(ErrorCode::option, "sound.log_mel",
                "options mels and frames: " + std::to_string(mels) + " and " +
                    std::to_string(frames) + " are out of range");
  }
  const auto made = log_mel(samples, static_cast<int>(mels), frames, state(L).context->parallel());
  const Shape shape{Axis{"frame", static_cast<std::int64_t>(made.size()) / mels, 0},
                    Axis{"mel", mels, 0}};
  push_value(L, Value::of(Tensor::from(state(L).context, made, shape)));
  return 1;
}

/// align(attention [head, token, frame], first, count, width) -> the frames of these tokens; all
/// from 0
int align(lua_State* L) {
  const Tensor& attention = to_tensor(L, 1, "align", "attention");
  if (attention.shape().rank() != 3) {
    throw Error(ErrorCode::shape, "align", "attention must be [head, token, frame]")
        .operand("attention", attention.describe());
  }
  const Shape& shape = attention.shape();
  const std::vector<float> values = attention.to_floats();
  push_list(L, align_tokens({values, shape.size(0), shape.size(1), shape.size(2)},
                            to_integer(L, 2, "align", "first"), to_integer(L, 3, "align", "count"),
                            to_integer(L, 4, "align", "width")));
  return 1;
}

/// compressed_size(text) -> bytes that zlib makes of it
int size_compressed(lua_State* L) {
  push_integer(
      L, static_cast<std::int64_t>(compressed_size(to_text(L, 1, "compressed_size", "text"))));
  return 1;
}

}  // namespace

void add_sound(lua_State* L) {
  constexpr Member kFunctions[] = {
      {"sound_open", guarded_once<open_sound>},
      {"sound_write", guarded_once<write>},
      {"resample", guarded<resample_samples>},
      {"log_mel", guarded<log_mel_features>},
      {"align", guarded<align>},
      {"compressed_size", guarded<size_compressed>},
  };
  set_functions(L, kFunctions);
  constexpr Member kMethods[] = {{"read", guarded_once<read>}, {"close", guarded<close>}};
  constexpr Member kGetters[] = {
      {"channels", guarded<channels>},
      {"rate", guarded<rate>},
      {"format", guarded<format>},
      {"seconds", guarded<seconds>},
  };
  register_type<SoundObject>(L, kMethods, kGetters);
}

}  // namespace perilune::lua
