// PNG through libpng. Its errors jump over the frames between: functions that set a jump hold
// nothing that needs a destructor, and what is allocated belongs to their caller.
#include <png.h>

#include <cstring>

#include "engine/base/error.h"
#include "engine/images/image.h"

namespace perilune {

namespace {

constexpr png_alloc_size_t kMostChunkBytes = png_alloc_size_t{1} << 23;
constexpr png_uint_32 kMostChunks = 1000;

/// What the callbacks of one file share.
struct Reading {
  const char* next = nullptr;
  std::size_t left = 0;
  char problem[128] = "";
  png_structp png = nullptr;
  png_infop info = nullptr;

  ~Reading() { png_destroy_read_struct(&png, &info, nullptr); }
};

void on_error(png_structp png, png_const_charp message) {
  auto* reading = static_cast<Reading*>(png_get_error_ptr(png));
  std::strncpy(reading->problem, message, sizeof(reading->problem) - 1);
  png_longjmp(png, 1);
}

void on_warning(png_structp, png_const_charp) {}

void read_bytes(png_structp png, png_bytep to, png_size_t size) {
  auto* reading = static_cast<Reading*>(png_get_io_ptr(png));
  if (size > reading->left) png_error(png, "the file is cut off");
  std::memcpy(to, reading->next, size);
  reading->next += size;
  reading->left -= size;
}

/// Sizes and kind of pixels; false when libpng gave up.
bool read_header(Reading& reading) {
  if (setjmp(png_jmpbuf(reading.png)) != 0) return false;
  png_set_read_fn(reading.png, &reading, read_bytes);
  png_set_user_limits(reading.png, static_cast<png_uint_32>(kMostSide),
                      static_cast<png_uint_32>(kMostSide));
  png_set_chunk_malloc_max(reading.png, kMostChunkBytes);
  png_set_chunk_cache_max(reading.png, kMostChunks);
  png_read_info(reading.png, reading.info);
  return true;
}

/// Lines of red, green and blue into `lines`; false when libpng gave up.
bool read_lines(Reading& reading, png_bytepp lines, std::size_t line_bytes) {
  if (setjmp(png_jmpbuf(reading.png)) != 0) return false;
  png_set_expand(reading.png);  // palettes and few bits to bytes
  png_set_strip_16(reading.png);
  png_set_strip_alpha(reading.png);
  png_set_gray_to_rgb(reading.png);
  png_set_interlace_handling(reading.png);
  png_read_update_info(reading.png, reading.info);
  if (png_get_rowbytes(reading.png, reading.info) != line_bytes) {
    png_error(reading.png, "lines are of another length than its header says");
  }
  png_read_image(reading.png, lines);
  return true;
}

[[noreturn]] void fail(const Reading& reading, const std::string& name) {
  throw Error(ErrorCode::format, "image", std::string("damaged PNG: ") + reading.problem)
      .where(name);
}

}  // namespace

Image read_png(std::string_view bytes, const std::string& name) {
  Reading reading;
  reading.next = bytes.data();
  reading.left = bytes.size();
  reading.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &reading, on_error, on_warning);
  reading.info = reading.png == nullptr ? nullptr : png_create_info_struct(reading.png);
  if (reading.info == nullptr) throw Error(ErrorCode::memory, "image", "out of memory").where(name);
  if (!read_header(reading)) fail(reading, name);
  Image image;
  image.height = png_get_image_height(reading.png, reading.info);
  image.width = png_get_image_width(reading.png, reading.info);
  check_image_size(image.height, image.width, name);
  image.pixels.resize(static_cast<std::size_t>(image.height * image.line_bytes()));
  std::vector<png_bytep> lines;
  for (std::int64_t y = 0; y < image.height; ++y) {
    lines.push_back(image.pixels.data() + y * image.line_bytes());
  }
  if (!read_lines(reading, lines.data(), static_cast<std::size_t>(image.line_bytes()))) {
    fail(reading, name);
  }
  return image;
}

}  // namespace perilune
