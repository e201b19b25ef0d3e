// perilune.h for C++20: handles close themselves, errors are perilune_host::Error, lists are spans.
// What each function does, and on which thread, is said in perilune.h.
#pragma once

#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "perilune.h"

namespace perilune_host {

class Error : public std::runtime_error {
 public:
  Error(pl_status status, const std::string& text) : std::runtime_error(text), status_(status) {}
  pl_status status() const { return status_; }

 private:
  pl_status status_;
};

/// A handle that is closed with the object; moved, never copied.
template <pl_status (*Close)(pl_handle)>
class Handle {
 public:
  Handle() = default;
  explicit Handle(pl_handle handle) : handle_(handle) {}
  Handle(Handle&& other) noexcept : handle_(std::exchange(other.handle_, 0)) {}
  Handle& operator=(Handle&& other) noexcept {
    if (this != &other) Close(std::exchange(handle_, std::exchange(other.handle_, 0)));
    return *this;
  }
  ~Handle() { Close(handle_); }
  pl_handle get() const { return handle_; }

 private:
  pl_handle handle_ = 0;
};

class Instance {
 public:
  explicit Instance(pl_options options = {}) {
    std::string text(400, '\0');
    options.size = sizeof(options);
    options.error = text.data();
    options.error_capacity = text.size();
    pl_instance made = 0;
    if (const pl_status status = pl_open(&options, &made)) throw Error(status, text.c_str());
    handle_ = Handle<pl_close>(made);
  }
  pl_instance get() const { return handle_.get(); }
  /// From any thread: ends the call that another one is in.
  void cancel() const { pl_cancel(get()); }
  void run(std::string_view script, const char* name = "script") const {
    check(pl_run(get(), script.data(), script.size(), name));
  }
  bool step(double budget_ms) const {  // false: nothing is left to do
    pl_step_report report{sizeof(report), 0, 0, 0};
    check(pl_step(get(), budget_ms, &report));
    return report.idle == 0;
  }
  void check(pl_status status) const { check(get(), status); }
  static void check(pl_instance instance, pl_status status) {
    if (status < PL_ERROR_ARGUMENT) return;
    throw Error(status, text([&](char* buffer, std::size_t capacity, std::size_t* size) {
                  return pl_error_text(instance, buffer, capacity, size);
                }));
  }
  /// The text that a function of perilune.h hands out, however long it is.
  template <class Function>
  static std::string text(Function function) {
    std::string found;
    std::size_t size = 0;
    pl_status status = function(nullptr, 0, &size);
    do {
      found.resize(size + 1);
      status = function(found.data(), found.size(), &size);
    } while (status == PL_ERROR_SIZE);
    found.resize(status == PL_OK ? size : 0);
    return found;
  }

 private:
  Handle<pl_close> handle_;
};

class Model {
 public:
  Model(const Instance& instance, const std::string& path, const char* options = nullptr)
      : instance_(instance.get()) {
    pl_model made = 0;
    instance.check(pl_load(instance.get(), path.c_str(), options, &made));
    handle_ = Handle<pl_release>(made);
  }
  pl_model get() const { return handle_.get(); }

  std::vector<pl_class> classify(std::span<const std::string> texts,
                                 const char* options = nullptr) const {
    std::vector<pl_class> best(texts.size());
    const auto [list, sizes] = pointers(texts);
    check(pl_classify(get(), list.data(), sizes.data(), list.size(), options, best.data()));
    return best;
  }
  /// f32[text, width], row after row.
  std::vector<float> embed(std::span<const std::string> texts, std::size_t& width) const {
    const auto [list, sizes] = pointers(texts);
    check(pl_embed(get(), list.data(), sizes.data(), 1, nullptr, nullptr, 0, &width));
    std::vector<float> vectors(texts.size() * width);
    check(pl_embed(get(), list.data(), sizes.data(), list.size(), nullptr, vectors.data(),
                   vectors.size(), &width));
    return vectors;
  }
  std::string label(std::int32_t id) const {
    return Instance::text([&](char* buffer, std::size_t capacity, std::size_t* size) {
      return pl_label(get(), id, buffer, capacity, size);
    });
  }
  /// The whole answer; options as m:generate takes them, as JSON.
  std::string generate(const std::string& prompt, const char* options = nullptr) const {
    pl_prompt asked{};
    asked.size = sizeof(asked);
    asked.text = prompt.c_str();
    asked.text_size = prompt.size();
    asked.options = options;
    pl_request made = 0;
    check(pl_generate(get(), &asked, &made));
    const Handle<pl_release> request(made);
    return Instance::text([&](char* buffer, std::size_t capacity, std::size_t* size) {
      return pl_request_text(made, buffer, capacity, size);
    });
  }

 private:
  static std::pair<std::vector<const char*>, std::vector<std::size_t>> pointers(
      std::span<const std::string> texts) {
    std::pair<std::vector<const char*>, std::vector<std::size_t>> made;
    for (const std::string& text : texts) {
      made.first.push_back(text.c_str());
      made.second.push_back(text.size());
    }
    return made;
  }

  void check(pl_status status) const { Instance::check(instance_, status); }

  pl_instance instance_;
  Handle<pl_release> handle_;
};

}  // namespace perilune_host
