"""Expected values of the sampling rules that llama.cpp, vLLM and transformers define, written down from their
published definitions in plain numpy; prints tests/engine/sampling_rules/expected.json.

    python3 tests/judges/sampling.py > tests/engine/sampling_rules/expected.json

None of the three was run for it. llama.cpp (src/llama-sampling.cpp): top_n_sigma, xtc, dry, mirostat_v2, temp_ext, penalties.
vLLM (v1/sample/ops/penalties.py): presence and frequency of output tokens.
transformers (generation/logits_process.py): TopHLogitsWarper.
"""
import json
import math
import random

import numpy as np

NEVER = None


def softmax(row):
    open_ = row[np.isfinite(row)]
    e = np.where(np.isfinite(row), np.exp(row - open_.max()), 0)
    return e / e.sum()


def entropy(p):
    q = p[p > 0]
    return float(-(q * np.log(q)).sum())


def top_n_sigma(row, n):
    open_ = row[np.isfinite(row)]
    return np.where(row < open_.max() - n * open_.std(), -np.inf, row)


def xtc(row, threshold):
    p = softmax(row)
    order = np.argsort(-p, kind="stable")
    last = 0
    for i, at in enumerate(order):
        if p[at] >= threshold:
            last = i
        else:
            break
    out = row.copy()
    out[order[:last]] = -np.inf
    return out


def top_h(row, share):
    order = np.argsort(-row, kind="stable")[:100]
    order = order[np.isfinite(row[order])]
    p = softmax(row[order])
    terms = np.cumsum(-p * np.log(p))
    keep = terms <= entropy(p) * share
    keep[0] = True
    out = np.full_like(row, -np.inf)
    out[order[keep]] = row[order[keep]]
    return out


def dynamic(row, temperature, spread, exponent):
    low, high = max(0.0, temperature - spread), temperature + spread
    share = entropy(softmax(row)) / math.log(np.isfinite(row).sum())
    return row / (low + (high - low) * share ** exponent)


def counts(row, new, frequency, presence):
    out = row.copy()
    for token in set(new):
        out[token] -= new.count(token) * frequency + presence
    return out


def dry(row, ids, multiplier, base, allowed, last_n, breakers):
    """As published: the longest run that ends here and stood before, for every id that came after it."""
    ids = ids if last_n < 0 else ids[-last_n:]
    limit = 0
    while limit < len(ids) and ids[-1 - limit] not in breakers:
        limit += 1
    longest = {}
    if limit >= allowed:
        for i in range(len(ids) - 1):
            run = 0
            while run < limit and i - run >= 0 and ids[i - run] == ids[len(ids) - 1 - run]:
                run += 1
            if run >= allowed:
                longest[ids[i + 1]] = max(longest.get(ids[i + 1], 0), run)
    out = row.copy()
    for token, run in longest.items():
        if token not in breakers:
            out[token] -= multiplier * base ** (run - allowed)
    return out


MASK = (1 << 64) - 1


def mix(x):
    x = (x + 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def uniform(seed, output, position, draw):
    h = mix(seed)
    for part in (output, position, draw):
        h = mix((h + part) & MASK)
    return (h >> 11) * 2.0 ** -53


def mirostat(rows, temperature, tau, eta, seed):
    mu, chosen = 2 * tau, []
    for position, row in enumerate(rows):
        row = row / temperature
        bits = -np.log2(softmax(row))
        keep = bits <= mu
        keep[int(np.argmax(row))] = True
        p = softmax(np.where(keep, row, -np.inf))
        at = int(np.searchsorted(np.cumsum(p), uniform(seed, 0, position, 0), side="right"))
        chosen.append(at)
        mu -= eta * (-math.log2(p[at]) - tau)
    return chosen


def listed(row):
    return [None if not np.isfinite(x) else round(float(x), 6) for x in row]


def main():
    rng = random.Random(15)
    row = lambda n=24: np.array([round(rng.gauss(0, 2.5), 3) for _ in range(n)])
    cases = []

    def add(rule, options, given, out, **more):
        cases.append({"rule": rule, "options": options, "row": listed(given), "expected": listed(out), **more})

    for n in (0.5, 1.0, 1.5, 2.5):
        r = row()
        add("top_n_sigma", {"top_n_sigma": n}, r, top_n_sigma(r, n))
    for threshold in (0.02, 0.1, 0.2, 0.45):
        r = row()
        add("xtc", {"xtc_threshold": threshold}, r, xtc(r, threshold))
    for share in (0.2, 0.5, 0.9):
        r = row(140)
        add("top_h", {"top_h": share}, r, top_h(r, share))
    for temperature, spread, exponent in ((1.0, 0.5, 1.0), (0.8, 0.8, 2.0), (1.2, 2.0, 0.5)):
        r = row()
        add("dynatemp", {"temperature": temperature, "dynatemp_range": spread, "dynatemp_exponent": exponent}, r,
            dynamic(r, temperature, spread, exponent))
    for frequency, presence in ((0.5, 0.0), (0.0, 1.25), (0.3, -0.4)):
        r, prompt = row(), [rng.randrange(24) for _ in range(5)]
        new = [rng.randrange(6) for _ in range(12)]
        add("counts", {"frequency_penalty": frequency, "presence_penalty": presence}, r,
            counts(r, new, frequency, presence), ids=prompt + new, prompt_tokens=5)
    for multiplier, base, allowed, last_n, breakers, letters in (
        (0.8, 1.75, 2, -1, [], 3), (1.0, 2.0, 1, -1, [2], 3), (0.5, 1.5, 3, 20, [], 2), (2.0, 1.1, 2, -1, [0], 3)):
        for length in (4, 30, 80):
            r, ids = row(), [rng.randrange(letters) for _ in range(length)]
            add("dry", {"dry_multiplier": multiplier, "dry_base": base, "dry_allowed_length": allowed,
                        "dry_penalty_last_n": last_n, "breakers": breakers}, r,
                dry(r, ids, multiplier, base, allowed, last_n, breakers), ids=ids)
    for temperature, tau, eta, seed in ((1.0, 3.0, 0.1, 7), (0.7, 2.0, 0.5, 8), (1.5, 1.0, 1.0, 9)):
        rows = [row() for _ in range(30)]
        cases.append({"rule": "mirostat", "options": {"temperature": temperature, "mirostat_tau": tau,
                                                      "mirostat_eta": eta, "seed": seed},
                      "rows": [listed(r) for r in rows], "chosen": mirostat(rows, temperature, tau, eta, seed)})
    print(json.dumps({"made_with": {"numpy": np.__version__, "date": "2026-11-30"}, "cases": cases}))


main()
