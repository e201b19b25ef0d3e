"""What the published beam search gives where the rules leave fewer answers than were asked for.

    python tests/judges/few_answers.py        # transformers 5.24.0, torch; prints the cases of faults_generation_settings_spec.lua
"""
import torch
from transformers import GPT2LMHeadModel

model = GPT2LMHeadModel.from_pretrained("tests/golden/gpt2-plain")
prompt = torch.tensor([[5, 6, 7]])


def ask(first, rest):
    """Three of three beams whose first token is one of `first`, every later one of `rest`; 1 ends."""
    answer = model.generate(
        prompt, prefix_allowed_tokens_fn=lambda _, ids: first if len(ids) == 3 else rest, num_beams=3,
        num_return_sequences=3, do_sample=False, max_new_tokens=3, pad_token_id=0, eos_token_id=1,
        output_scores=True, return_dict_in_generate=True)
    print(first, rest, [ids[3:].tolist() for ids in answer.sequences], answer.sequences_scores.tolist())


for first, rest in [([9], [9]), ([9], [10, 11]), ([9], [1]), ([10, 11], [1]), ([10, 11], [9])]:
    ask(first, rest)
