"""Models of two layers, trained for a few hundred steps, for the table of docs/preflight.md and tests/faults/trained.

  preflight_models.py OUT ENGLISH OTHER JAPANESE [NAME...]

ENGLISH is what models learn and their tokenizers are made from, OTHER what the strangers' tokenizers of the same kind
and size are made from (text files). Made with torch 2.15, transformers 5.24, tokenizers 0.23; for the tests the weights
were rounded to float16."""
import os
import random
import re
import sys

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (BartConfig, BartForConditionalGeneration, BertConfig, BertForMaskedLM, BertModel, GPT2Config, GPT2LMHeadModel,
                          PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration)

PIECES, WIDTH = 2000, 96
BART = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
END = ["<|endoftext|>"]


def lines(text):
    return [line for line in re.split(r"\n+|(?<=[.。])\s*", text) if line.strip()]


def byte_bpe(text, specials):
    k = Tokenizer(models.BPE())
    k.pre_tokenizer, k.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    k.train_from_iterator(lines(text), trainers.BpeTrainer(vocab_size=PIECES, special_tokens=specials, show_progress=False,
                                                           initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return k


def wordpiece(text):
    k = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    k.normalizer, k.pre_tokenizer = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    k.decoder = decoders.WordPiece()
    k.train_from_iterator(lines(text), trainers.WordPieceTrainer(vocab_size=PIECES, show_progress=False,
                                                                 special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]))
    k.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
                                                     special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return k


def unigram(text):
    k = Tokenizer(models.Unigram())
    k.normalizer, k.pre_tokenizer, k.decoder = normalizers.NFKC(), pre_tokenizers.Metaspace(), decoders.Metaspace()
    k.train_from_iterator(lines(text), trainers.UnigramTrainer(vocab_size=PIECES, special_tokens=["<pad>", "</s>", "<unk>"],
                                                               unk_token="<unk>", show_progress=False))
    k.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)])
    return k


ROLES = {
    "wordpiece": dict(unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]"),
    "unigram": dict(unk_token="<unk>", pad_token="<pad>", eos_token="</s>"),
    "bart": dict(bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>", mask_token="<mask>"),
    "bpe": dict(bos_token=END[0], eos_token=END[0], unk_token=END[0]),
}


def save(name, model, kind, tokenizer, stranger=None):
    folder = os.path.join(out, name)
    if model is not None:
        model.save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **ROLES[kind]).save_pretrained(folder)
    if stranger is not None:
        save(name + "-other", None, kind, stranger)


def fit(name, model, tokenizer, text, loss_of, steps, batch=16, length=48):
    ids = torch.tensor([i for line in lines(text) for i in tokenizer.encode(" " + line.strip(), add_special_tokens=False).ids])
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    model.train()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min(1, (step + 1) / 40) * (1 - step / steps)
        at = torch.randint(0, len(ids) - length - 1, (batch,))
        loss = loss_of(model, torch.stack([ids[a:a + length] for a in at]))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % 50 == 0:
            print(name, step, "%.3f" % loss.item(), flush=True)
    model.eval()


def hidden(x, mask, share):
    labels, pick = x.clone(), torch.rand(x.shape) < share
    labels[~pick] = -100
    seen = x.clone()
    seen[pick & (torch.rand(x.shape) < 0.9)] = mask
    return seen, labels


def causal(name, text, other, steps):
    k = byte_bpe(text, END)
    m = GPT2LMHeadModel(GPT2Config(vocab_size=k.get_vocab_size(), n_embd=WIDTH, n_layer=2, n_head=4, n_positions=128, bos_token_id=0,
                                   eos_token_id=0))
    fit(name, m, k, text, lambda m, x: m(x, labels=x).loss, steps)
    save(name, m, "bpe", k, other and byte_bpe(other, END))


def masked(name, text, other, steps):
    k = wordpiece(text)
    sizes = dict(vocab_size=k.get_vocab_size(), hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=4, intermediate_size=256,
                 max_position_embeddings=128, pad_token_id=0)
    m = BertForMaskedLM(BertConfig(**sizes))

    def loss(m, x):
        seen, labels = hidden(x, k.token_to_id("[MASK]"), 0.15)
        return m(seen, labels=labels).loss

    fit(name, m, k, text, loss, steps, batch=24)
    save(name, m, "wordpiece", k, wordpiece(other))
    encoder = BertModel(BertConfig(**sizes))
    encoder.load_state_dict(m.bert.state_dict(), strict=False)
    save(name + "-encoder", encoder, "wordpiece", k)


def t5(name, text, other, steps):
    k = unigram(text)
    m = T5ForConditionalGeneration(T5Config(vocab_size=k.get_vocab_size(), d_model=WIDTH, d_kv=24, d_ff=256, num_layers=2, num_heads=4,
                                            decoder_start_token_id=0, dropout_rate=0.0))
    fit(name, m, k, text, lambda m, x: m(input_ids=x[:, :24], labels=x[:, 24:].contiguous()).loss, steps, batch=24)
    save(name, m, "unigram", k, unigram(other))


def bart(name, text, other, steps):
    k = byte_bpe(text, BART)
    m = BartForConditionalGeneration(BartConfig(vocab_size=k.get_vocab_size(), d_model=WIDTH, encoder_layers=2, decoder_layers=2,
                                                encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=256,
                                                decoder_ffn_dim=256, max_position_embeddings=128, dropout=0.0))
    fit(name, m, k, text, lambda m, x: m(input_ids=hidden(x, 4, 0.3)[0], labels=x).loss, steps)
    save(name, m, "bart", k, byte_bpe(other, BART))


if __name__ == "__main__":
    out, wanted = sys.argv[1], sys.argv[5:]
    english, foreign, japanese = (open(path, encoding="utf8").read() for path in sys.argv[2:5])
    torch.manual_seed(0)
    random.seed(0)
    jobs = {
        "causal": lambda: causal("causal", english, foreign, 400), "masked": lambda: masked("masked", english, foreign, 600),
        "t5": lambda: t5("t5", english, foreign, 500), "bart": lambda: bart("bart", english, foreign, 500),
        "japanese": lambda: causal("japanese", japanese, None, 400), "hardly": lambda: causal("hardly", english, None, 15),
    }
    for job in wanted or jobs:
        jobs[job]()
