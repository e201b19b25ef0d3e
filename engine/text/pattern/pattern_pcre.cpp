// General regular expressions, run by PCRE2 with limits on steps and memory.
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <string>

#include "engine/base/error.h"
#include "engine/text/pattern/pattern_syntax.h"
#include "engine/text/pattern/scanner.h"

namespace perilune {
namespace {

constexpr std::size_t kMaxSource = 1 << 16;
constexpr std::uint32_t kHeapKib = 64 << 10;
constexpr std::size_t kStackFirst = 64 << 10, kStackMost = 64 << 20;

template <auto kFree>
struct Free {
  template <class T>
  void operator()(T* what) const {
    kFree(what);
  }
};
using Code = std::unique_ptr<pcre2_code, Free<pcre2_code_free>>;
using CompileContext = std::unique_ptr<pcre2_compile_context, Free<pcre2_compile_context_free>>;
using MatchContext = std::unique_ptr<pcre2_match_context, Free<pcre2_match_context_free>>;
using MatchData = std::unique_ptr<pcre2_match_data, Free<pcre2_match_data_free>>;
using Stack = std::unique_ptr<pcre2_jit_stack, Free<pcre2_jit_stack_free>>;

template <class T>
T* there(T* made) {
  if (made == nullptr) throw Error(ErrorCode::memory, "tokenizer", "no memory for a pattern");
  return made;
}

std::string message_of(int code) {
  PCRE2_UCHAR text[256];
  const int length = pcre2_get_error_message(code, text, sizeof text);
  return length < 0 ? "error " + std::to_string(code) : reinterpret_cast<const char*>(text);
}

/// What a search may cost. PCRE2's own limit starts anew at every character, so that a search could
/// take the limit times the text's length; this one counts what all of them do: a callout stands
/// before every item of the expression.
struct Budget {
  std::int64_t left, step;
  std::size_t at = 0;

  /// Linear searches of any text, and quadratic ones of a few thousand bytes, stay far below.
  static std::int64_t of_text(std::size_t bytes) {
    const auto size = static_cast<std::int64_t>(bytes);
    const std::int64_t small = std::min<std::int64_t>(size, 8192);
    return 100'000 + 1000 * size + small * small;
  }
};

int count_step(pcre2_callout_block* block, void* data) {
  Budget& budget = *static_cast<Budget*>(data);
  const std::size_t now = block->current_position;
  const std::size_t moved = now > budget.at ? now - budget.at : budget.at - now;
  budget.at = now;
  budget.left -= budget.step + static_cast<std::int64_t>(moved);
  return budget.left < 0 ? PCRE2_ERROR_MATCHLIMIT : 0;
}

class PcrePattern final : public Pattern {
 public:
  PcrePattern(const std::string& source, std::string_view place) : source_(source) {
    if (source.size() > kMaxSource) {
      throw Error(ErrorCode::format, "tokenizer",
                  std::string(place) + ": a pattern of " + std::to_string(source.size()) +
                      " bytes; at most " + std::to_string(kMaxSource) + " are read");
    }
    compile(pcre_source(source, place), place);
    pcre2_jit_compile(code_.get(), PCRE2_JIT_COMPLETE);  // where there is none it is interpreted
    context_.reset(there(pcre2_match_context_create(nullptr)));
    pcre2_set_heap_limit(context_.get(), kHeapKib);
  }

  void find(std::string_view text, TextSpan range, std::vector<TextSpan>& out) const override {
    Search search(*this, text.substr(range.first, range.last - range.first));
    std::size_t at = 0, previous = std::string_view::npos;  // the end of the match before
    std::size_t first = 0, last = 0;
    while (at <= search.text.size() && search.next(at, first, last)) {
      if (last == previous && first == last) {  // right after a match there is no empty one
        at = next_character(search.text, last);
        continue;
      }
      out.push_back({range.first + static_cast<std::uint32_t>(first),
                     range.first + static_cast<std::uint32_t>(last)});
      at = previous = last;
    }
  }

 private:
  void compile(const PcreSource& translated, std::string_view place) {
    const CompileContext context(there(pcre2_compile_context_create(nullptr)));
    pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
    pcre2_set_bsr(context.get(), PCRE2_BSR_UNICODE);
    int code = 0;
    PCRE2_SIZE offset = 0;
    code_.reset(pcre2_compile(
        reinterpret_cast<PCRE2_SPTR>(translated.text.data()), translated.text.size(),
        PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_AUTO_CALLOUT | PCRE2_NEVER_BACKSLASH_C,
        &code, &offset, context.get()));
    if (code_ == nullptr) {
      throw Error(ErrorCode::format, "tokenizer",
                  std::string(place) + ": the pattern \"" + source_ + "\" cannot be read at byte " +
                      std::to_string(translated.place(offset)) + ": " + message_of(code));
    }
    step_ = 1 + translated.longest_repeat / 64;
    std::uint32_t references = 0;
    pcre2_pattern_info(code_.get(), PCRE2_INFO_BACKREFMAX, &references);
    references_ = references > 0;
  }

  /// One text's search: what it has spent, and memory of its own.
  struct Search {
    Search(const PcrePattern& of, std::string_view text) : text(text), of_(of) {
      budget_.left = Budget::of_text(text.size());
      // A reference compares up to the whole text in one step.
      budget_.step = of.step_ + static_cast<std::int64_t>(of.references_ ? text.size() / 8 : 0);
      context_.reset(there(pcre2_match_context_copy(of.context_.get())));
      pcre2_set_callout(context_.get(), count_step, &budget_);
      data_.reset(there(pcre2_match_data_create(1, nullptr)));
    }

    /// The first match at or after byte `at`.
    bool next(std::size_t at, std::size_t& first, std::size_t& last) {
      budget_.at = at;
      int found = match(at);
      if (found == PCRE2_ERROR_JIT_STACKLIMIT && stack_ == nullptr) {
        stack_.reset(there(pcre2_jit_stack_create(kStackFirst, kStackMost, nullptr)));
        pcre2_jit_stack_assign(context_.get(), nullptr, stack_.get());
        found = match(at);
      }
      if (found == PCRE2_ERROR_NOMATCH) return false;
      if (found < 0) of_.too_long(text.size(), found);
      const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(data_.get());
      first = std::max<std::size_t>(ends[0], at);
      last = std::max<std::size_t>(ends[1], first);
      return true;
    }

    std::string_view text;

   private:
    int match(std::size_t at) const {
      return pcre2_match(of_.code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(),
                         at, PCRE2_NO_UTF_CHECK, data_.get(), context_.get());
    }

    const PcrePattern& of_;
    Budget budget_{0, 1};
    Stack stack_;
    MatchContext context_;
    MatchData data_;
  };

  [[noreturn]] void too_long(std::size_t bytes, int found) const {
    throw Error(
        ErrorCode::length, "tokenizer",
        "the pattern \"" + source_ + "\" takes too many steps on this text: " + message_of(found))
        .operand("text", std::to_string(bytes) + " bytes")
        .hint("encode the text in parts");
  }

  static std::size_t next_character(std::string_view text, std::size_t at) {
    do {
      ++at;
    } while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80);
    return at;
  }

  std::string source_;
  Code code_;
  MatchContext context_;
  std::int64_t step_ = 1;
  bool references_ = false;
};

}  // namespace

std::unique_ptr<Pattern> pcre_pattern(const std::string& source, std::string_view place) {
  return std::make_unique<PcrePattern>(source, place);
}

}  // namespace perilune
