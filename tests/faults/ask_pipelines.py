"""Makes random models with random tokenizers and texts, and asks the published pipelines about them.

    python3 tests/faults/ask_pipelines.py make FOLDER [SEED [COUNT]]   # FOLDER/NAME/…, FOLDER/questions.jsonl
    python3 tests/faults/ask_pipelines.py ask FOLDER                   # FOLDER/answers.jsonl, appended
    build/release/perilune tests/faults/pipelines.lua FOLDER           # ours against them

    python3 tests/faults/ask_pipelines.py golden         # tests/faults/pipeline_answers.jsonl, appended: on tests/golden

`ask` answers what its transformers has: question-answering and text2text-generation need one before 5
(asked with 4.57.1), the others are asked with 5.24.0; run it with both."""
import json
import pathlib
import random
import sys

WORDS = ("the of and it's don't we've Berlin Köln Zürich café naïve São Paulo Łódź 東京 カナ 한국 Привет мир "
         "x1 42 3.14 U.S. e-mail a b cat cats unbelievable Ångström 😀 👩‍💻 é שלום مرحبا Σίσυφος ﬁne №5 …").split()
TOKENIZERS = ["wordpiece", "wordpiece-bare", "bytes", "pairs", "pairs-prefix", "unigram", "unigram-bytes", "unigram-sequence", "wordlevel"]
LABELS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "MISC", "B-a-b", "I-a-b"]


def text(r, least=1, most=14):
    out = []
    for _ in range(r.randint(least, most)):
        word = r.choice(WORDS)
        if r.random() < 0.15:
            word = word.upper() if r.random() < 0.5 else word + r.choice(["xyzzy", "☃", "q", "̈", "!"])
        out.append(word + r.choice([" "] * 10 + ["  ", ", ", " . ", "! ", "\n", "", " n't ", " 's "]))
    return "".join(out)


def tokenizer(r, kind):
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    words = [w for w in WORDS if r.random() < 0.8]  # the others are unknown
    corpus = [" ".join(r.choices(words, k=12)) for _ in range(60)]
    bert = kind.startswith("wordpiece") or kind == "wordlevel"
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] if bert else ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    unk, cls, sep = (specials[1], specials[2], specials[3]) if bert else (specials[3], specials[0], specials[2])
    size = r.randint(110, 200)
    if kind.startswith("wordpiece"):
        prefix = "##" if kind == "wordpiece" else ""
        t = Tokenizer(models.WordPiece(unk_token=unk, continuing_subword_prefix=prefix))
        t.normalizer = normalizers.BertNormalizer(lowercase=r.random() < 0.5)
        t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        t.decoder = decoders.WordPiece(prefix="##", cleanup=r.random() < 0.5)
        trainer = trainers.WordPieceTrainer(vocab_size=size, special_tokens=specials, continuing_subword_prefix=prefix)
    elif kind == "wordlevel":
        t = Tokenizer(models.WordLevel(unk_token=unk))
        t.pre_tokenizer = pre_tokenizers.Whitespace()
        trainer = trainers.WordLevelTrainer(vocab_size=size, special_tokens=specials)
    elif kind == "bytes":
        t = Tokenizer(models.BPE())
        t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=r.random() < 0.5)
        t.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(vocab_size=340, special_tokens=specials, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    elif kind.startswith("pairs"):
        prefix = "@@" if kind == "pairs-prefix" else ""
        t = Tokenizer(models.BPE(unk_token=unk, fuse_unk=r.random() < 0.5, continuing_subword_prefix=prefix))
        t.pre_tokenizer = pre_tokenizers.Whitespace() if r.random() < 0.5 else pre_tokenizers.WhitespaceSplit()
        trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=specials, continuing_subword_prefix=prefix)
    else:
        t = Tokenizer(models.Unigram())
        t.normalizer = r.choice([normalizers.NFKC(), normalizers.NFD(), normalizers.Sequence([])])
        t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=r.choice(["always", "first", "never"]))
        t.decoder = decoders.Metaspace(prepend_scheme=r.choice(["always", "never"]))
        if kind == "unigram-sequence":
            t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
        trainer = trainers.UnigramTrainer(vocab_size=size, special_tokens=specials, unk_token=unk)
    t.train_from_iterator(corpus, trainer)
    if kind == "unigram-bytes":
        data = json.loads(t.to_str())
        data["model"]["vocab"] += [["<0x%02X>" % b, -20.0] for b in range(256)]
        data["model"]["byte_fallback"] = True
        data["decoder"] = {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}]}
        t = Tokenizer.from_str(json.dumps(data))
    ids = [(s, t.token_to_id(s)) for s in (cls, sep)]
    if bert:
        t.post_processor = processors.TemplateProcessing(single="%s $A %s" % (cls, sep), pair="%s $A %s $B:1 %s:1" % (cls, sep, sep), special_tokens=ids)
    elif r.random() < 0.5:
        t.post_processor = processors.RobertaProcessing(ids[1], ids[0], trim_offsets=r.random() < 0.5, add_prefix_space=r.random() < 0.5)
    else:
        t.post_processor = processors.TemplateProcessing(single="%s $A %s" % (cls, sep), pair="%s $A %s %s $B %s" % (cls, sep, sep, sep), special_tokens=ids)
    names = ["pad_token", "unk_token", "cls_token", "sep_token", "mask_token"] if bert else ["bos_token", "pad_token", "eos_token", "unk_token", "mask_token"]
    roles = dict(zip(names, specials))
    if not bert:
        roles.update(cls_token="<s>", sep_token="</s>")
    return t, roles


TASKS = {"token": "token-classification", "question": "question-answering", "masked": "fill-mask", "sequence": "text-classification",
         "nli": "zero-shot-classification", "base": "feature-extraction", "causal": "text-generation", "seq2seq": "text2text-generation"}


def model(r, head, t, roles):
    import transformers as tf
    vocab = max(t.get_vocab(True).values()) + 1
    pad = t.token_to_id(roles["pad_token"])
    sizes = dict(vocab_size=vocab, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
                 max_position_embeddings=48, initializer_range=0.6, pad_token_id=pad)
    eos = t.token_to_id(roles.get("eos_token") or roles["sep_token"])
    labels = {}
    if head == "token":
        chosen = LABELS[: r.randint(2, len(LABELS))]
        labels = dict(id2label=dict(enumerate(chosen)), label2id={n: i for i, n in enumerate(chosen)})
    if head == "nli":
        chosen = r.choice([["contradiction", "neutral", "entailment"], ["ENTAILMENT", "other"], ["neutral", "entailment", "contradiction"]])
        labels = dict(id2label=dict(enumerate(chosen)), label2id={n: i for i, n in enumerate(chosen)})
    if head == "sequence":
        n = r.randint(1, 4)
        labels = dict(num_labels=n, problem_type=r.choice([None, "single_label_classification", "multi_label_classification", "regression"]))
    if head == "causal":
        config = tf.GPT2Config(vocab_size=vocab, n_embd=32, n_layer=2, n_head=4, n_positions=64, initializer_range=0.6, bos_token_id=eos, eos_token_id=eos)
        return tf.GPT2LMHeadModel(config), 64
    if head == "seq2seq":
        start = t.token_to_id(roles["pad_token"])
        if r.random() < 0.5:
            config = tf.T5Config(vocab_size=vocab, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, decoder_start_token_id=start,
                                 pad_token_id=pad, eos_token_id=eos, initializer_factor=3.0)
            return tf.T5ForConditionalGeneration(config), 64
        config = tf.BartConfig(vocab_size=vocab, d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4,
                               encoder_ffn_dim=48, decoder_ffn_dim=48, max_position_embeddings=64, init_std=0.4, pad_token_id=pad, bos_token_id=start,
                               eos_token_id=eos, decoder_start_token_id=eos, forced_eos_token_id=None)
        return tf.BartForConditionalGeneration(config), 64
    family = r.choice(["Bert", "Roberta", "DistilBert", "XLMRoberta"])
    if head == "seq2seq":
        family = "T5"
    if family == "DistilBert":
        config = tf.DistilBertConfig(vocab_size=vocab, dim=32, n_layers=2, n_heads=4, hidden_dim=48, max_position_embeddings=48,
                                     initializer_range=0.6, pad_token_id=pad, **labels)
        limit = 48
    elif family == "Bert":
        config, limit = tf.BertConfig(type_vocab_size=2, **sizes, **labels), 48
    else:
        config = getattr(tf, family + "Config")(type_vocab_size=2, **sizes, **labels)
        limit = 48 - pad - 1
    suffix = {"token": "ForTokenClassification", "question": "ForQuestionAnswering", "masked": "ForMaskedLM", "base": "Model",
              "sequence": "ForSequenceClassification", "nli": "ForSequenceClassification"}[head]
    return getattr(tf, family + suffix)(config), limit


def questions(r, head, roles, limit):
    short = lambda: text(r, 1, 4)
    for _ in range(8):
        if head == "token":
            strategy = r.choice(["none", "simple", "first", "average", "max"])
            options = {"aggregation_strategy": strategy}
            if r.random() < 0.5:
                options["ignore_labels"] = []
            if strategy != "none" and r.random() < 0.5:
                options["stride"] = r.randint(0, limit // 3)
                yield text(r, 10, 40), options
            else:
                yield short(), options
        elif head == "question":
            options = {}
            if r.random() < 0.5:
                options["top_k"] = r.randint(1, 5)
            for key, values in (("max_answer_len", [1, 3, 15, 30]), ("handle_impossible_answer", [True, False]), ("align_to_words", [True, False])):
                if r.random() < 0.4:
                    options[key] = r.choice(values)
            long = r.random() < 0.5
            options["doc_stride"] = r.randint(0, 6)
            yield {"question": text(r, 1, 2).strip() or "x", "context": text(r, 8, 30) if long else short()}, options
        elif head == "masked":
            options = {"top_k": r.randint(1, 6)}
            if r.random() < 0.3:
                options["targets"] = r.sample(WORDS, 3)
            masks = r.choice([1, 1, 1, 2])
            yield " ".join(short() + roles["mask_token"] for _ in range(masks)) + r.choice(["", " ", " end", "."]), options
        elif head == "sequence":
            options = {}
            if r.random() < 0.7:
                options["top_k"] = r.choice([None, 1, 2])
            if r.random() < 0.4:
                options["function_to_apply"] = r.choice(["softmax", "sigmoid", "none"])
            yield (short() if r.random() < 0.7 else {"text": short(), "text_pair": short()}), options
        elif head == "nli":
            yield short(), {"candidate_labels": r.sample(WORDS[:12], r.randint(1, 3)), "multi_label": r.random() < 0.4,
                            "hypothesis_template": r.choice(["This example is {}.", "{}", "über {} hinaus"])}
        elif head == "base":
            yield short(), {}
        else:
            yield text(r, 1, 6), {"max_new_tokens": r.randint(1, 12), "do_sample": False, "num_beams": r.choice([1, 1, 3])}


def make(folder, seed, count):
    import torch
    from transformers import PreTrainedTokenizerFast
    with open(folder / "questions.jsonl", "w", encoding="utf-8") as out:
        for i in range(count):
            r = random.Random(seed * 1000 + i)
            torch.manual_seed(seed * 1000 + i)
            head, kind = r.choice(list(TASKS)), r.choice(TOKENIZERS)
            t, roles = tokenizer(r, kind)
            m, limit = model(r, head, t, roles)
            name = "%03d-%s-%s" % (i, head, kind)
            fast = PreTrainedTokenizerFast(tokenizer_object=t, model_max_length=limit, clean_up_tokenization_spaces=r.random() < 0.3, **roles)
            typed = ["token_type_ids"] if m.config.model_type == "bert" and r.random() < 0.7 else []
            fast.model_input_names = ["input_ids", "attention_mask"] + typed
            fast.init_kwargs["model_input_names"] = fast.model_input_names  # releases have other defaults
            fast.save_pretrained(folder / name)
            for key in m.state_dict():
                if "norm" in key.lower() and key.endswith("weight"):
                    torch.nn.init.uniform_(m.get_parameter(key), 0.7, 1.3)
            m.eval().save_pretrained(folder / name)
            for given, options in questions(r, head, roles, limit):
                row = {"task": TASKS[head], "model": name, "input": given, "options": options}
                out.write(json.dumps(row, ensure_ascii=False) + "\n")


def plain(value):
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value.item() if hasattr(value, "item") else value


def golden_questions(folder):
    """Of the golden models that pipelines run, in the order of their names."""
    heads = {"ForTokenClassification": "token", "ForQuestionAnswering": "question", "ForMaskedLM": "masked", "ForSequenceClassification": "sequence"}
    for path in sorted(folder.glob("*/config.json")):
        config = json.loads(path.read_text())
        head = next((h for suffix, h in heads.items() if config["architectures"][0].endswith(suffix)), None)
        if head is None:
            continue
        r = random.Random(path.parent.name)
        limit = config["max_position_embeddings"] - (config["pad_token_id"] + 1 if config["model_type"] == "roberta" else 0)
        settings = json.loads((path.parent / "tokenizer_config.json").read_text())
        mask = settings.get("mask_token", "<mask>")
        for given, options in questions(r, head, {"mask_token": mask if isinstance(mask, str) else mask["content"]}, limit):
            if "stride" in options or "doc_stride" in options:
                long = text(r, 50, 70)
                given = long if isinstance(given, str) else {"question": given["question"], "context": long}
            yield {"task": TASKS[head], "model": path.parent.name, "input": given, "options": options, "limit": limit}


def ask(folder, rows, target):
    import transformers
    from transformers import PreTrainedTokenizerFast, pipeline
    pipes, old = {}, int(transformers.__version__.split(".")[0]) < 5
    with open(target, "a", encoding="utf-8") as out:
        for row in rows:
            if old != (row["task"] in ("question-answering", "text2text-generation")):
                continue
            key = row["model"]
            if key not in pipes:
                pipes.clear()
                tokenizer = PreTrainedTokenizerFast.from_pretrained(folder / key)
                if "limit" in row:
                    config = json.loads((folder / key / "config.json").read_text())
                    tokenizer.model_max_length = min(tokenizer.model_max_length, row["limit"])
                    tokenizer.model_input_names = ["input_ids", "attention_mask"] + ["token_type_ids"] * (config["model_type"] == "bert")
                pipes[key] = pipeline(row["task"], str(folder / key), tokenizer=tokenizer, device="cpu")
            options = dict(row["options"])
            if row["task"] in ("text-generation", "text2text-generation"):
                options["pad_token_id"] = pipes[key].tokenizer.pad_token_id
            try:
                row["output"] = plain(pipes[key](row["input"], **options))
            except Exception as error:
                row["error"] = "%s: %s" % (type(error).__name__, error)
            row["made_with"] = "transformers " + transformers.__version__
            out.write(json.dumps(row, ensure_ascii=False) + "\n")


def main():
    if sys.argv[1] == "golden":
        here = pathlib.Path(__file__).resolve()
        folder = here.parents[1] / "golden"
        return ask(folder, golden_questions(folder), here.with_name("pipeline_answers.jsonl"))
    folder = pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    if sys.argv[1] == "make":
        return make(folder, int(sys.argv[3]) if len(sys.argv) > 3 else 1, int(sys.argv[4]) if len(sys.argv) > 4 else 40)
    ask(folder, map(json.loads, open(folder / "questions.jsonl", encoding="utf-8")), folder / "answers.jsonl")


if __name__ == "__main__":
    main()
