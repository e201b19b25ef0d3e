// How the models that GGUF files name cut text before byte pairs are merged: the patterns of their
// published tokenizer files.
#include <map>
#include <string>
#include <vector>

#include "engine/text/cut/pre_tokenizer.h"
#include "engine/text/readers/gguf.h"

namespace perilune {
namespace {

// The tool counts the columns of these characters otherwise each time it runs.
// clang-format off
// Characters that have another, canonical spelling are written by number.
constexpr const char* kDeepSeekLetters =
    "\\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-"
    "ᲺᲽ-"
    "Ჿᴀ-"
    "ᴫᵫ-ᵷᵹ-ᶚ"
    "\\x{1E00}-\\x{1F15}\\x{1F18}-\\x{1F1D}\\x{1F20}-\\x{1F45}\\x{1F48}-\\x{1F4D}"
    "\\x{1F50}-\\x{1F57}\\x{1F59}\\x{1F5B}\\x{1F5D}\\x{1F5F}-\\x{1F7D}"
    "\\x{1F80}-\\x{1FB4}\\x{1FB6}-\\x{1FBC}\\x{1FBE}\\x{1FC2}-\\x{1FC4}"
    "\\x{1FC6}-\\x{1FCC}\\x{1FD0}-\\x{1FD3}\\x{1FD6}-\\x{1FDB}\\x{1FE0}-\\x{1FEC}"
    "\\x{1FF2}-\\x{1FF4}\\x{1FF6}-\\x{1FFC}"
    "\\x{2102}\\x{2107}\\x{210A}-\\x{2113}\\x{2115}\\x{2119}-\\x{211D}\\x{2124}"
    "\\x{2126}\\x{2128}\\x{212A}-\\x{212D}\\x{212F}-\\x{2134}\\x{2139}"
    "\\x{213C}-\\x{213F}\\x{2145}-\\x{2149}\\x{214E}\\x{2183}\\x{2184}"
    "Ⰰ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-"
    "𐓻𐲀-"
    "𐲲𐳀-"
    "𐳲𑢠-𑣟𞤀-𞥃]+";
// clang-format on
constexpr const char* kAsian =
    "["
    "\\x{4E00}-\\x{9FFF}\\x{3400}-\\x{4DBF}\\x{F900}-\\x{FAFF}\\x{3040}-\\x{309F}"
    "\\x{30A0}-\\x{30FF}\\x{FF65}-\\x{FF9F}\\x{2F00}-\\x{2FDF}\\x{0E40}-\\x{0E7F}"
    "\\x{0E80}-\\x{0EFF}\\x{1780}-\\x{17FF}\\x{1000}-\\x{109F}\\x{AA60}-\\x{AA7F}"
    "\\x{A9E0}-\\x{A9FF}\\x{AC00}-\\x{D7AF}\\x{1100}-\\x{11FF}"
    "]+";

// Named parts, each built from those above it.
struct Patterns {
  std::string contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
  std::string spaces = "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
  std::string letters = contractions + "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|";
  std::string others = "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|";
  std::string upper = "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]";
  std::string lower = "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]";

  std::string llama3 = letters + "\\p{N}{1,3}" + others + spaces;
  std::string qwen2 = letters + "\\p{N}" + others + spaces;
  std::string minicpm5 = letters + "\\p{N}+" + others + spaces;
  std::string qwen35 = contractions +
                       "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}"
                       "| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" +
                       spaces;
  std::string seed_coder = letters + "\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|" + spaces;
  std::string bailing =
      "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}"
      "| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+";
  std::string jais2 = letters + "\\p{N}{1,3}" + others +
                      "\\s*[\\r\\n]+|\\s{512}(?!\\S)|\\s{256}(?!\\S)|\\s{128}(?!\\S)"
                      "|\\s{64}(?!\\S)|\\s{32}(?!\\S)|\\s{16}(?!\\S)|\\s{8}(?!\\S)"
                      "|\\s{4}(?!\\S)|\\s{1,2}(?!\\S)|\\s{1}";
  std::string exaone_moe = contractions +
                           "|[^\\r\\n\\p{L}\\p{N}]?(?:\\p{L}\\p{M}*(?: \\p{L}\\p{M}*)*)+"
                           "|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]?|\\s*[\\r\\n]"
                           "|\\s+(?!\\S)|\\s+";

  // Words by the case of their letters, then `tail`.
  std::string cased(const std::string& tail) const {
    const std::string before = "[^\\r\\n\\p{L}\\p{N}]?";
    return before + upper + "*" + lower + "+" + tail + "|" + before + upper + "+" + lower + "*" +
           tail + "|";
  }
  std::string with_slash = "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|";
  std::string tekken = cased("") + "\\p{N}" + with_slash + spaces;
  std::string gpt4o = cased(contractions + "?") + "\\p{N}{1,3}" + with_slash + spaces;
  std::string youtu = cased(contractions + "?") + "\\p{N}" + with_slash + spaces;
  std::string youtu_scripts =
      "[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥぀-"
      "ゟ゠-"
      "ヿ]"
      "+";
  // As gpt-4o's, with Chinese characters apart.
  std::string kimi() const {
    Patterns apart;
    apart.upper = "(?:(?!\\p{Han})" + upper + ")";
    apart.lower = "(?:(?!\\p{Han})" + lower + ")";
    return "\\p{Han}+|" + apart.cased(contractions + "?") + "\\p{N}{1,3}" + others + spaces;
  }

  std::string ascii_punctuation = "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+";
  std::string deepseek3 = ascii_punctuation +
                          "|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
                          "| ?[\\p{P}\\p{S}]+[\\r\\n]*|" +
                          spaces;
  std::string spark = ascii_punctuation +
                      "|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+"
                      "|[\\r\\n]|\\s+(?!\\S)|\\s+";
  std::string han = "[一-龥ࠀ-一가-퟿]+";
  std::string han_and_kana = "[一-龥぀-ゟ゠-ヿ]+";
  std::string bloom = " ?[^(\\s|.,!?…。，、।۔،)]+";
  std::string lines = "[^\\n]+|[\\n]+";
  // Digits in threes from the right.
  std::string thousands = "\\p{N}{1,3}(?=(?:\\p{N}{3})*(?!\\p{N}))";
};

struct Family {
  std::vector<std::string_view> names;
  GgufPreTokenizer pre;
};

std::vector<Family> make_families() {
  const Patterns p;
  const std::string gpt2 = kGpt2Pattern;
  const GgufPreTokenizer cut_by_gpt2{{gpt2}};
  GgufPreTokenizer roberta = cut_by_gpt2;
  roberta.sentence_pairs = true;
  const GgufPreTokenizer llama3{{p.llama3}, true, true};
  const GgufPreTokenizer qwen2{{p.qwen2}};
  const GgufPreTokenizer gpt4o{{p.gpt4o}};
  GgufPreTokenizer gemma4{{p.lines}, true, true};
  gemma4.characters = true;
  GgufPreTokenizer sarvam{{p.lines}};
  sarvam.characters = true;
  return {
      {{"default"}, {{"[\\p{P}\\$\\+<=>\\^~\\|]+", gpt2, "\\p{N}+", "[0-9][0-9][0-9]"}}},
      {{"llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2",
        "jina-v5-nano"},
       llama3},
      {{"dbrx", "smaug-bpe", "glm4", "chatglm-bpe"}, {{p.llama3}}},
      {{"jais-2"}, {{p.jais2}}},
      {{"minicpm5"}, {{"\\p{N}{1,3}", p.minicpm5}, true}},
      {{"deepseek-llm"},
       {{"[\\r\\n]", kDeepSeekLetters, "\\s?[!-/:-~！-／：-～‘-‟　-。]+", "\\s+$", p.han,
         "\\p{N}+"}}},
      {{"deepseek-coder"}, {{"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", p.han, "\\p{N}"}}},
      {{"deepseek-v3", "hunyuan-dense", "joyai-llm"},
       {{"\\p{N}{1,3}", p.han_and_kana, p.deepseek3}}},
      {{"spark2_5"}, {{"\\p{N}{1,3}", p.han_and_kana, p.spark, "\\p{N}"}}},
      {{"youtu"}, {{p.youtu_scripts, p.youtu}, true}},
      {{"falcon"}, {{"[\\p{P}\\$\\+<=>\\^~\\|`]+", gpt2, "[0-9][0-9][0-9]"}}},
      {{"starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b",
        "mellum2"},
       {{"\\p{N}", gpt2}}},
      {{"gpt-2", "phi-2", "jina-es", "jina-de", "gigachat", "jina-v2-es", "jina-v2-de", "a.x-4.0",
        "mellum", "modern-bert", "mpt", "olmo", "jais", "trillion", "granite-docling", "exaone4"},
       cut_by_gpt2},
      {{"jina-v1-en", "jina-v2-code", "roberta-bpe"}, roberta},
      {{"qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "stablelm2", "hunyuan", "megrez",
        "solar-open", "grok-2"},
       qwen2},
      {{"qwen35"}, {{p.qwen35}}},
      {{"laguna"}, {{p.lines, p.qwen2}}},
      {{"poro-chat", "bloom", "gpt3-finnish"}, {{p.bloom}}},
      {{"viking"}, {{p.bloom, "\\p{N}"}}},
      {{"tekken"}, {{p.tekken}, true, true}},
      {{"chameleon"},
       {{"<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", "([\\t\\n]|    |  )", "\\p{N}",
         "[\\p{P}!-/:-@\\[-`{-~]", gpt2},
        false,
        true}},
      {{"gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"}, gpt4o},
      {{"granite-embed-multi-97m"}, {{p.gpt4o}, true}},
      {{"tiny_aya", "cohere2moe"}, {{"\\d{1,3}(?=(?:\\d{3})*\\b)", p.gpt4o}}},
      {{"superbpe"}, {{"\\p{N}+", p.thousands}}},
      {{"bailingmoe", "bailingmoe2", "llada-moe"}, {{p.bailing}}},
      {{"seed-coder"}, {{p.seed_coder}}},
      {{"kimi-k2"}, {{p.kimi()}}},
      {{"afmoe"}, {{p.thousands, kAsian, p.deepseek3}}},
      {{"exaone-moe"}, {{p.exaone_moe}}},
      {{"gemma4", "granite-embed-multi-311m"}, gemma4},
      {{"sarvam-moe"}, sarvam},
  };
}

const std::map<std::string_view, GgufPreTokenizer>& by_name() {
  static const std::map<std::string_view, GgufPreTokenizer> table = [] {
    std::map<std::string_view, GgufPreTokenizer> all;
    for (const Family& family : make_families()) {
      for (const std::string_view name : family.names) all.emplace(name, family.pre);
    }
    return all;
  }();
  return table;
}

}  // namespace

const GgufPreTokenizer* gguf_pre_tokenizer(std::string_view name) {
  const auto found = by_name().find(name);
  return found == by_name().end() ? nullptr : &found->second;
}

std::vector<std::string> gguf_pre_tokenizer_names() {
  std::vector<std::string> names;
  for (const auto& [name, pre] : by_name()) names.emplace_back(name);
  return names;
}

}  // namespace perilune
