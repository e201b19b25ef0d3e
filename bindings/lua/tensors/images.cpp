// Pictures as tensors u8 [height, width, channel].
#include <cstring>

#include "bindings/lua/tensors/tensor_value.h"
#include "engine/base/file.h"
#include "engine/images/image.h"
#include "engine/images/resize.h"

namespace perilune::lua {

namespace {

constexpr std::uint64_t kMostFileBytes = std::uint64_t{1} << 30;

int push_image(lua_State* L, const Image& image) {
  const Tensor tensor = Tensor::make(state(L).context, DType::u8,
                                     Shape({Axis{"height", image.height, 0},
                                            Axis{"width", image.width, 0}, Axis{"channel", 3, 0}}));
  if (!image.pixels.empty()) {
    std::memcpy(tensor.data(), image.pixels.data(), image.pixels.size());
  }
  push_value(L, Value::of(tensor));
  return 1;
}

/// A tensor u8 [height, width, channel=3] as a picture.
Image to_image(lua_State* L, int index, const char* op) {
  const Tensor& given = to_tensor(L, index, op, "image");
  const Shape& shape = given.shape();
  const bool fits = given.dtype() == DType::u8 && shape.rank() == 3 && shape.size(2) == 3;
  if (!fits) {
    throw Error(ErrorCode::shape, op, "a picture is u8 [height, width, channel=3]")
        .operand("image", given.describe());
  }
  check_image_size(shape.size(0), shape.size(1), op);
  const Tensor bytes = given.to(given.context()->cpu_device()).to_contiguous();
  Image image{shape.size(0), shape.size(1), {}};
  const auto* data = bytes.as<std::uint8_t>();
  image.pixels.assign(data, data + bytes.bytes());
  return image;
}

/// core.image(path, bytes | nil): of the file, or of bytes that `path` names → u8 [height, width,
/// channel]
int read_picture(lua_State* L) {
  const std::string path = to_text(L, 1, "image", "path");
  const std::string bytes = lua_isnoneornil(L, 2) ? read_file(path, kMostFileBytes, "image")
                                                  : to_text(L, 2, "image", "bytes");
  return push_image(L, read_image(bytes, path));
}

/// core.resize_image(image, height, width, filter) → u8 [height, width, channel]
int resize_picture(lua_State* L) {
  const Image image = to_image(L, 1, "resize");
  const std::int64_t height = to_integer(L, 2, "resize", "height");
  const std::int64_t width = to_integer(L, 3, "resize", "width");
  const ResizeFilter filter = resize_filter(to_text(L, 4, "resize", "filter"));
  return push_image(L, resized(image, height, width, filter));
}

}  // namespace

void add_images(lua_State* L) {
  constexpr Member kFunctions[] = {{"image", guarded<read_picture>},
                                   {"resize_image", guarded<resize_picture>}};
  set_functions(L, kFunctions);
}

}  // namespace perilune::lua
