// Names of character properties in regular expressions, as PCRE2 writes them inside a class.
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>

#include "engine/text/pattern/pattern_properties.h"

namespace perilune {

const char* const kPcreWordInClass = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc})";
// Published files' \w holds the small digits and fractions of Latin-1 where it stands alone, but no
// other numbers that are not decimal.
const char* const kPcreWord = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\x{B2}\x{B3}\x{B9}\x{BC}-\x{BE})";

namespace {

struct Name {
  std::string_view name;  // lower case, without spaces, - and _
  const char* inside;
};

constexpr Name kPosix[] = {
    {"alnum", R"(\p{Alphabetic}\p{Nd})"},
    {"alpha", R"(\p{Alphabetic})"},
    {"ascii", R"(\x00-\x7F)"},
    {"blank", R"(\p{Zs}\t)"},
    {"cntrl", R"(\p{Cc})"},
    {"digit", R"(\p{Nd})"},
    {"graph", R"(\p{L}\p{M}\p{N}\p{P}\p{S}\p{Cf}\p{Co})"},
    {"lower", R"(\p{Lowercase})"},
    {"print", R"(\p{L}\p{M}\p{N}\p{P}\p{S}\p{Cf}\p{Co}\p{Zs})"},
    {"punct", R"(\p{P}\p{S})"},
    {"space", R"(\p{White_Space})"},
    {"upper", R"(\p{Uppercase})"},
    {"word", R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc})"},
    {"xdigit", "0-9A-Fa-f"},
};

constexpr Name kLongNames[] = {
    {"any", R"(\x{0}-\x{10FFFF})"},
    {"assigned", R"(\P{Cn})"},
    {"casedletter", R"(\p{Lu}\p{Ll}\p{Lt})"},
    {"closepunctuation", R"(\p{Pe})"},
    {"connectorpunctuation", R"(\p{Pc})"},
    {"control", R"(\p{Cc})"},
    {"currencysymbol", R"(\p{Sc})"},
    {"dashpunctuation", R"(\p{Pd})"},
    {"decimalnumber", R"(\p{Nd})"},
    {"enclosingmark", R"(\p{Me})"},
    {"finalpunctuation", R"(\p{Pf})"},
    {"format", R"(\p{Cf})"},
    {"initialpunctuation", R"(\p{Pi})"},
    {"letter", R"(\p{L})"},
    {"letternumber", R"(\p{Nl})"},
    {"lineseparator", R"(\p{Zl})"},
    {"lowercaseletter", R"(\p{Ll})"},
    {"mark", R"(\p{M})"},
    {"mathsymbol", R"(\p{Sm})"},
    {"modifierletter", R"(\p{Lm})"},
    {"modifiersymbol", R"(\p{Sk})"},
    {"nonspacingmark", R"(\p{Mn})"},
    {"number", R"(\p{N})"},
    {"openpunctuation", R"(\p{Ps})"},
    {"other", R"(\p{C})"},
    {"otherletter", R"(\p{Lo})"},
    {"othernumber", R"(\p{No})"},
    {"otherpunctuation", R"(\p{Po})"},
    {"othersymbol", R"(\p{So})"},
    {"paragraphseparator", R"(\p{Zp})"},
    {"privateuse", R"(\p{Co})"},
    {"punct", R"(\p{P})"},
    {"punctuation", R"(\p{P})"},
    {"separator", R"(\p{Z})"},
    {"spaceseparator", R"(\p{Zs})"},
    {"spacingmark", R"(\p{Mc})"},
    {"surrogate", R"(\p{Cs})"},
    {"symbol", R"(\p{S})"},
    {"titlecaseletter", R"(\p{Lt})"},
    {"unassigned", R"(\p{Cn})"},
    {"uppercaseletter", R"(\p{Lu})"},
    {"word", R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\x{B2}\x{B3}\x{B9}\x{BC}-\x{BE})"},
};

template <std::size_t Size>
const char* lookup(const Name (&names)[Size], std::string_view name) {
  const auto found = std::find_if(std::begin(names), std::end(names),
                                  [&](const Name& n) { return n.name == name; });
  return found == std::end(names) ? nullptr : found->inside;
}

bool compiles(const std::string& source) {
  int code = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* compiled =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(source.data()), source.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &code, &offset, nullptr);
  if (compiled == nullptr) return false;
  pcre2_code_free(compiled);
  return true;
}

}  // namespace

std::string pcre_posix_class(std::string_view name) {
  const char* found = lookup(kPosix, name);
  return found == nullptr ? "" : found;
}

std::string pcre_property(std::string_view name) {
  if (const std::size_t equal = name.find('='); equal != std::string_view::npos) {
    name.remove_prefix(equal + 1);  // Script=Han
  }
  std::string plain;
  for (const char c : name) {
    if (c == ' ' || c == '-' || c == '_') continue;
    plain += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  if (const char* found = lookup(kLongNames, plain)) return found;
  if (const char* found = lookup(kPosix, plain)) return found;
  const bool names = std::all_of(plain.begin(), plain.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '&';
  });
  if (!names || plain.empty() || plain.size() > 64) return "";
  // A script is the characters' own, not those that others use too.
  for (const char* before : {"\\p{sc:", "\\p{"}) {
    std::string property = before + (plain.size() <= 2 ? std::string(name) : plain) + "}";
    if (plain.size() <= 2 && before[3] == 's') continue;  // a general category
    if (compiles(property)) return property;
  }
  return "";
}

}  // namespace perilune
