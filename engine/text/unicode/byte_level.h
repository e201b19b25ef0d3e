// The alphabet that byte-level vocabularies are written in (Radford et al. 2019).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace perilune {

/// The characters that byte-level vocabularies write bytes as (GPT-2's bytes_to_unicode).
char32_t byte_level_character(unsigned char byte);
/// The bytes a byte-level spelling stands for; nullopt where a character is not of that alphabet.
std::optional<std::string> bytes_of_byte_level(std::string_view spelling);
std::string byte_level_of_bytes(std::string_view bytes);

}  // namespace perilune
