#include "engine/base/input_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "engine/base/error.h"
#include "engine/base/file_source.h"

namespace perilune {
namespace {

constexpr const char* kAgain = "something changed the file meanwhile: load the model again";
constexpr const char* kUnmapped =
    "something changed the file meanwhile: load the model again, without mmap";

}  // namespace

InputFile::InputFile(std::string path, std::string op)
    : path_(std::move(path)), op_(std::move(op)) {
  if (FileSource::Found found = find_in_source(path_); found.kind != FileSource::Kind::none) {
    if (found.kind == FileSource::Kind::folder) fail("is a folder, not a file");
    brought_ = std::move(found.data);
    size_ = found.size;
    return;
  }
  // A pipe or device that has no writer must not block the caller.
  descriptor_ =
      std::make_unique<const Descriptor>(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (descriptor_->get() < 0) fail("cannot be opened: " + reason_of(errno));
  struct stat status {};
  if (::fstat(descriptor_->get(), &status) != 0) fail("cannot be read: " + reason_of(errno));
  if (S_ISDIR(status.st_mode)) fail("is a folder, not a file");
  if (!S_ISREG(status.st_mode)) fail("is not a regular file");
  size_ = static_cast<std::uint64_t>(status.st_size);
}

InputFile::~InputFile() {
  if (mapping_ != nullptr && !brought_) ::munmap(const_cast<void*>(mapping_), size_);
}

void InputFile::fail(const std::string& problem) const {
  throw Error(ErrorCode::file, op_, path_ + ": " + problem);
}

void InputFile::fail_short(std::uint64_t at, const char* remedy) const {
  throw Error(ErrorCode::file, op_,
              path_ + ": it ends at byte " + std::to_string(at) + ", it had " +
                  std::to_string(size_) + " when it was opened")
      .hint(remedy);
}

void InputFile::read(std::uint64_t begin, std::size_t size, void* to) const {
  if (brought_) {
    if (begin > size_ || size > size_ - begin) fail_short(size_, kAgain);
    if (size != 0) std::memcpy(to, static_cast<const char*>(brought_.get()) + begin, size);
    return;
  }
  char* out = static_cast<char*>(to);
  for (std::size_t done = 0; done < size;) {
    const ssize_t got =
        ::pread(descriptor_->get(), out + done, size - done, static_cast<off_t>(begin + done));
    if (got > 0) {
      done += static_cast<std::size_t>(got);
    } else if (got == 0) {
      fail_short(begin + done, kAgain);
    } else if (errno != EINTR) {
      fail("cannot be read: " + reason_of(errno));
    }
  }
}

bool InputFile::map() {
  if (mapping_ != nullptr || size_ == 0) return mapping_ != nullptr;
  if (brought_) {
    mapping_ = brought_.get();
  } else {
    void* mapping = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, descriptor_->get(), 0);
    if (mapping != MAP_FAILED) mapping_ = mapping;
  }
  return mapping_ != nullptr;
}

const char* InputFile::mapped() const {
  if (mapping_ != nullptr && !brought_) {
    struct stat status {};
    const bool known = ::fstat(descriptor_->get(), &status) == 0;
    const auto now = known ? static_cast<std::uint64_t>(status.st_size) : 0;
    if (now < size_) fail_short(now, kUnmapped);
  }
  return static_cast<const char*>(mapping_);
}

}  // namespace perilune
