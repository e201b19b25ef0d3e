"""Writes engine/text/unicode/letter_case_table.h: what Python's str knows of characters and utf8proc
does not tell. Run with any Python; the header says of which Unicode it is."""
import sys
import unicodedata as u

CHARACTERS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def ranges(wanted):
    out = []
    for c in CHARACTERS:
        if wanted(chr(c)):
            if out and out[-1][1] == c - 1:
                out[-1][1] = c
            else:
                out.append([c, c])
    return out


def category(*names):
    return lambda c: u.category(c) in names


def ignorable(c):
    # A letter, the final sigma, c: the sigma ends the word only when c is skipped or no letter.
    return ("A\u03a3" + c + "A").lower()[1] == "\u03c3" and not (c.lower() != c or c.upper() != c or c.isupper() or c.islower()
                                                               or u.category(c) == "Lt")


def plain(c):
    return u.category(c) in ("Mn", "Me", "Cf", "Lm", "Sk")


def print_ranges(name, what, table):
    print("// " + what)
    print("constexpr CharacterRange %s[] = {" % name)
    for i in range(0, len(table), 5):
        print("    " + " ".join("{0x%04X, 0x%04X}," % (a, b) for a, b in table[i:i + 5]))
    print("};\n")


def spelled(text):
    return 'U"' + "".join("\\U%08X" % ord(c) for c in text) + '"'


print("""// Made by scripts/make_letter_case.py of Unicode %s.
#pragma once

#include <string_view>

namespace perilune {

struct CharacterRange {
  char32_t first;
  char32_t last;
};

/// Cases of a character that are not one character each.
struct LongCase {
  char32_t character;
  std::u32string_view upper;
  std::u32string_view title;
  std::u32string_view fold;
};

// clang-format off""" % u.unidata_version)
print_ranges("kMoreDigits", "Digits (Numeric_Type=Digit) beside category Nd.", ranges(lambda c: c.isdigit() and not c.isdecimal()))
print_ranges("kMoreNumbers", "Numbers (a Numeric_Type) beside the categories Nd, Nl and No.",
             ranges(lambda c: c.isnumeric() and not category("Nd", "Nl", "No")(c)))
print_ranges("kMoreLower", "Lowercase beside category Ll.", ranges(lambda c: c.islower() and not category("Ll")(c)))
print_ranges("kMoreUpper", "Uppercase beside category Lu.", ranges(lambda c: c.isupper() and not category("Lu")(c)))
print_ranges("kMoreIgnorable", "Case_Ignorable beside the categories Mn, Me, Cf, Lm and Sk.",
             ranges(lambda c: ignorable(c) and not plain(c) and not c.isspace() and not c.isalnum() and u.category(c) not in ("Cn",)))
print("constexpr LongCase kLongCases[] = {")
for code in CHARACTERS:
    c = chr(code)
    if len(c.upper()) > 1 or len(c.title()) > 1 or len(c.casefold()) > 1:
        print("    {0x%04X, %s, %s, %s}," % (code, spelled(c.upper()), spelled(c.title()), spelled(c.casefold())))
print("};\n// clang-format on\n\n}  // namespace perilune")
sys.stdout.flush()
