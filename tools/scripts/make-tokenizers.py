#!/usr/bin/env python3
"""Makes small tokenizers of the forms that the supported families have, with the `tokenizers` library (PyPI), each in a folder that
compare-tokenizers.py takes. Exits 77 where the library is not installed.

usage: make-tokenizers.py OUT TEXT...     TEXT: what their merges are learnt from
"""
import json
import sys
from pathlib import Path

try:
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
except ImportError:
    print("skipped: the tokenizers library is not installed")
    sys.exit(77)

if len(sys.argv) < 3:
    sys.exit(__doc__)
out, texts = Path(sys.argv[1]), sys.argv[2:]
contractions = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
spaces = r"\s*[\r\n]+|\s+(?!\S)|\s+"
llama3 = contractions + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + spaces
qwen2 = contractions + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + spaces
tekken = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|"
          r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + spaces)
bytes_ = [f"<0x{b:02X}>" for b in range(256)]


def byte_level(*steps, **model):
    tokenizer = Tokenizer(models.BPE(**model))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*steps, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not steps)])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer, trainers.BpeTrainer(vocab_size=3000, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)


def characters(normalizer, pre_tokenizer, strip=True):
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    if normalizer:
        tokenizer.normalizer = normalizer
    if pre_tokenizer:
        tokenizer.pre_tokenizer = pre_tokenizer
    steps = [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()] + ([decoders.Strip(" ", 1, 0)] if strip else [])
    tokenizer.decoder = decoders.Sequence(steps)
    return tokenizer, trainers.BpeTrainer(vocab_size=3000, special_tokens=["<unk>", "<s>", "</s>", *bytes_], show_progress=False)


def split(pattern, behavior="isolated"):
    return pre_tokenizers.Split(Regex(pattern), behavior)


def special(*contents, **flags):
    return [AddedToken(content, special=True, normalized=False, **flags) for content in contents]


def template(token):
    return lambda t: processors.TemplateProcessing(single=f"{token} $A", special_tokens=[(token, t.token_to_id(token))])


llama2 = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
blanks = normalizers.Replace(" ", "\u2581")
families = {
    # name: tokenizer and trainer, normalizer while it is used, added tokens, template
    "llama3": (byte_level(split(llama3), ignore_merges=True), None, special("<|begin_of_text|>", "<|eot_id|>"), template("<|begin_of_text|>")),
    "qwen2": (byte_level(split(qwen2)), normalizers.NFC(), special("<|endoftext|>", "<|im_start|>") + [AddedToken("<tool_call>", normalized=False)], None),
    "mistral-tekken": (byte_level(split(tekken), ignore_merges=True), None, special("<s>", "[INST]"), template("<s>")),
    "gpt2": (byte_level(), None, special("<|endoftext|>"), None),
    "starcoder": (byte_level(pre_tokenizers.Digits(individual_digits=True), split(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")), None,
                  special("<fim>"), None),
    "deepseek": (byte_level(split(r"[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"), split("[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"),
                            pre_tokenizers.Digits(individual_digits=True)), None, special("<\uff5cbegin\u2581of\u2581sentence\uff5c>"), None),
    "llama2": (characters(llama2, None), None, [], template("<s>")),
    "llama2-normalized": (characters(llama2, None), None, [AddedToken("<x>", special=True, normalized=True), AddedToken("a b", normalized=True)], template("<s>")),
    "llama2-metaspace": (characters(None, pre_tokenizers.Metaspace(prepend_scheme="first", split=False)), None, [], template("<s>")),
    "phi3": (characters(llama2, None), None, special("<|user|>", "<|end|>", rstrip=True) + special("<|left|>", lstrip=True) + [AddedToken("word", single_word=True, normalized=False)], None),
    "gemma": (characters(blanks, pre_tokenizers.Split(" ", "merged_with_previous"), strip=False), None,
              [AddedToken("\n\n", normalized=False), AddedToken("\n\n\n", normalized=False), *special("<start_of_turn>")], template("<s>")),
}
for name, ((tokenizer, trainer), normalizer, added, post) in families.items():
    # Learning from lines keeps texts without a pre-tokenizer short.
    tokenizer.train_from_iterator((line for text in texts for line in Path(text).read_text().splitlines()[:400]), trainer)
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.add_tokens(added)
    if post:
        tokenizer.post_processor = post(tokenizer)
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    saved = json.loads(tokenizer.to_str())
    saved["added_tokens"] = [token for token in saved["added_tokens"] if token["content"] not in bytes_]  # which the trainer made them
    (folder / "tokenizer.json").write_text(json.dumps(saved))
    config = {"model_type": "llama", "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 1,
              "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "vocab_size": tokenizer.get_vocab_size() + 5}
    (folder / "config.json").write_text(json.dumps(config))
print(" ".join(families))
