// JPEG through libjpeg. Its errors jump over the frames between: functions that set a jump hold
// nothing that needs a destructor, and what is allocated belongs to their caller.
#include <cstddef>
#include <cstdio>  // before jpeglib.h, which names FILE

#include <jpeglib.h>
#include <csetjmp>

#include "engine/base/error.h"
#include "engine/images/image.h"
#include "engine/images/orientation.h"

namespace perilune {

namespace {

constexpr int kMostScans = 500;  // of a progressive file; each is another walk over all of it
constexpr long kMostLibraryBytes = 1L << 30;

/// What libjpeg's callbacks share; its managers come first where it hands us their addresses.
struct Reading {
  jpeg_error_mgr errors{};
  jpeg_progress_mgr progress{};
  jpeg_source_mgr source{};
  jpeg_decompress_struct jpeg{};
  std::jmp_buf place;
  char problem[JMSG_LENGTH_MAX] = "";
  bool made = false;

  ~Reading() {
    if (made) jpeg_destroy_decompress(&jpeg);
  }
};

Reading& reading_of(j_common_ptr jpeg) {
  return *static_cast<Reading*>(jpeg->client_data);
}

[[noreturn]] void give_up(Reading& reading, const char* problem) {
  std::snprintf(reading.problem, sizeof(reading.problem), "%s", problem);
  std::longjmp(reading.place, 1);
}

void on_error(j_common_ptr jpeg) {
  Reading& reading = reading_of(jpeg);
  char message[JMSG_LENGTH_MAX];
  jpeg->err->format_message(jpeg, message);
  give_up(reading, message);
}

void on_message(j_common_ptr, int) {}
void on_output(j_common_ptr) {}

void on_progress(j_common_ptr jpeg) {
  Reading& reading = reading_of(jpeg);
  if (reading.jpeg.input_scan_number > kMostScans) give_up(reading, "too many scans");
}

void begin_source(j_decompress_ptr) {}

boolean need_more(j_decompress_ptr jpeg) {
  give_up(reading_of(reinterpret_cast<j_common_ptr>(jpeg)), "the file is cut off");
}

void skip_bytes(j_decompress_ptr jpeg, long count) {
  if (count <= 0) return;
  if (static_cast<std::size_t>(count) > jpeg->src->bytes_in_buffer) need_more(jpeg);
  jpeg->src->next_input_byte += count;
  jpeg->src->bytes_in_buffer -= static_cast<std::size_t>(count);
}

void end_source(j_decompress_ptr) {}

/// Sizes and colours; false when libjpeg gave up.
bool read_header(Reading& reading, std::string_view bytes) {
  if (setjmp(reading.place) != 0) return false;
  jpeg_decompress_struct& jpeg = reading.jpeg;
  jpeg.client_data = &reading;
  jpeg.err = jpeg_std_error(&reading.errors);
  reading.errors.error_exit = on_error;
  reading.errors.emit_message = on_message;
  reading.errors.output_message = on_output;
  jpeg_create_decompress(&jpeg);
  reading.made = true;
  jpeg.client_data = &reading;
  jpeg.mem->max_memory_to_use = kMostLibraryBytes;
  reading.progress.progress_monitor = on_progress;
  jpeg.progress = &reading.progress;
  reading.source.init_source = begin_source;
  reading.source.fill_input_buffer = need_more;
  reading.source.skip_input_data = skip_bytes;
  reading.source.resync_to_restart = jpeg_resync_to_restart;
  reading.source.term_source = end_source;
  reading.source.next_input_byte = reinterpret_cast<const JOCTET*>(bytes.data());
  reading.source.bytes_in_buffer = bytes.size();
  jpeg.src = &reading.source;
  jpeg_save_markers(&jpeg, JPEG_APP0 + 1, 0xffff);  // Exif
  jpeg_read_header(&jpeg, TRUE);
  const bool inks = jpeg.jpeg_color_space == JCS_CMYK || jpeg.jpeg_color_space == JCS_YCCK;
  jpeg.out_color_space = inks ? JCS_CMYK : JCS_RGB;
  return true;
}

/// Lines of `components` bytes a pixel into `to`; false when libjpeg gave up.
bool read_lines(Reading& reading, std::uint8_t* to, std::size_t line_bytes) {
  if (setjmp(reading.place) != 0) return false;
  jpeg_decompress_struct& jpeg = reading.jpeg;
  jpeg_start_decompress(&jpeg);
  if (static_cast<std::size_t>(jpeg.output_width) *
          static_cast<std::size_t>(jpeg.output_components) !=
      line_bytes) {
    give_up(reading, "lines are of another length than its header says");
  }
  while (jpeg.output_scanline < jpeg.output_height) {
    JSAMPROW line = to + static_cast<std::size_t>(jpeg.output_scanline) * line_bytes;
    jpeg_read_scanlines(&jpeg, &line, 1);
  }
  return true;
}

[[noreturn]] void fail(const Reading& reading, const std::string& name) {
  throw Error(ErrorCode::format, "image", std::string("damaged JPEG: ") + reading.problem)
      .where(name);
}

/// Four inks a pixel as three colours; Adobe's programs store what is left white.
std::vector<std::uint8_t> without_inks(const std::vector<std::uint8_t>& inks, bool inverted) {
  std::vector<std::uint8_t> colours;
  colours.reserve(inks.size() / 4 * 3);
  for (std::size_t i = 0; i + 3 < inks.size(); i += 4) {
    const int black = inverted ? inks[i + 3] : 255 - inks[i + 3];
    for (std::size_t c = 0; c < 3; ++c) {
      const int white = inverted ? inks[i + c] : 255 - inks[i + c];
      colours.push_back(static_cast<std::uint8_t>((white * black + 127) / 255));
    }
  }
  return colours;
}

int orientation_of(const jpeg_decompress_struct& jpeg) {
  for (jpeg_saved_marker_ptr marker = jpeg.marker_list; marker != nullptr; marker = marker->next) {
    if (marker->marker != JPEG_APP0 + 1) continue;
    const auto* data = reinterpret_cast<const char*>(marker->data);
    if (const int found = exif_orientation({data, marker->data_length})) return found;
  }
  return 1;
}

}  // namespace

Image read_jpeg(std::string_view bytes, const std::string& name) {
  Reading reading;
  if (!read_header(reading, bytes)) fail(reading, name);
  Image image;
  image.height = reading.jpeg.image_height;
  image.width = reading.jpeg.image_width;
  check_image_size(image.height, image.width, name);
  const bool inks = reading.jpeg.out_color_space == JCS_CMYK;
  const std::int64_t line = image.width * (inks ? 4 : 3);
  image.pixels.resize(static_cast<std::size_t>(image.height * line));
  if (!read_lines(reading, image.pixels.data(), static_cast<std::size_t>(line))) {
    fail(reading, name);
  }
  if (inks) image.pixels = without_inks(image.pixels, reading.jpeg.saw_Adobe_marker != 0);
  return oriented(std::move(image), orientation_of(reading.jpeg));
}

}  // namespace perilune
