#!/usr/bin/env python3
"""Makes a tiny random model of every supported architecture with unusual sizes, as a Hugging Face folder and as a GGUF file of the same
weights, and records what transformers computes in float32: the logits after each of 3 prompts of 40 tokens, and 20 greedy tokens behind
them. tools/scripts/check_reference_models.py compares heddle with it.

usage: make_reference_models.py FOLDER [NAME ...]
Needs torch, transformers, gguf and numpy (PyPI); exits 77 where one is missing.
"""
import json
import math
import sys
from pathlib import Path

try:
    import gguf
    import numpy as np
    import torch
    import transformers
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

PROMPTS, PROMPT_TOKENS, GREEDY = 3, 40, 20
torch.set_num_threads(1)  # small products
VOCABULARY = 203


def models():
    """name: (transformers' class of the configuration, its fields, the GGUF architecture). Windows are shorter than the prompts."""
    t = transformers
    base = dict(vocab_size=VOCABULARY, max_position_embeddings=256, bos_token_id=1, eos_token_id=2, pad_token_id=0, attention_dropout=0.0)
    small = dict(base, hidden_size=54, num_hidden_layers=3, num_attention_heads=9, num_key_value_heads=3, head_dim=10, intermediate_size=70)
    llama3 = dict(rope_type="llama3", rope_theta=50000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                  original_max_position_embeddings=32)
    phi = dict(base, hidden_size=40, num_hidden_layers=3, num_attention_heads=5, num_key_value_heads=5, intermediate_size=70)
    half = 8 // 2 - 1  # pairs of a head of 8 that turn, at a factor of 0.75
    longrope = dict(rope_type="longrope", rope_theta=10000.0, partial_rotary_factor=0.75,
                    short_factor=[1.0 + 0.1 * i for i in range(half)], long_factor=[1.5 + 2.0 * i for i in range(half)])
    gemma = dict(base, hidden_size=60, num_attention_heads=5, num_key_value_heads=1, head_dim=22, intermediate_size=90,
                 query_pre_attn_scalar=17, sliding_window=13)
    moe = dict(base, hidden_size=42, num_hidden_layers=3, num_attention_heads=3, num_key_value_heads=1, head_dim=10, intermediate_size=64,
               moe_intermediate_size=38, num_experts=7, num_experts_per_tok=3, decoder_sparse_step=1, mlp_only_layers=[])
    return {
        "llama": (t.LlamaConfig, dict(small, rms_norm_eps=1e-5, rope_parameters={"rope_type": "default", "rope_theta": 10000.0}), "llama"),
        "llama-scaled": (t.LlamaConfig, dict(small, tie_word_embeddings=True, rope_parameters=llama3), "llama"),
        "mistral": (t.MistralConfig, dict(small, sliding_window=11, rope_parameters={"rope_type": "default", "rope_theta": 1e5}), "llama"),
        "qwen2": (t.Qwen2Config, dict({k: v for k, v in small.items() if k != "head_dim"}, num_attention_heads=9,
                                      rope_parameters={"rope_type": "default", "rope_theta": 1e6}), "qwen2"),
        "qwen3": (t.Qwen3Config, dict(small, hidden_size=56, num_attention_heads=7, num_key_value_heads=1, head_dim=14,
                                      rope_parameters={"rope_type": "default", "rope_theta": 1e6}), "qwen3"),
        "gemma2": (t.Gemma2Config, dict(gemma, num_hidden_layers=4, attn_logit_softcapping=20.0, final_logit_softcapping=9.0,
                                        rope_parameters={"rope_type": "default", "rope_theta": 10000.0}), "gemma2"),
        "gemma3": (t.Gemma3TextConfig, dict(gemma, num_hidden_layers=7, rope_parameters={
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}}), "gemma3"),
        "phi3": (t.Phi3Config, dict(phi, sliding_window=17, rope_parameters={
            "rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.75}), "phi3"),
        "phi3-short": (t.Phi3Config, dict(phi, rope_parameters=dict(longrope, original_max_position_embeddings=64),
                                          original_max_position_embeddings=64), "phi3"),
        "phi3-long": (t.Phi3Config, dict(phi, rope_parameters=dict(longrope, original_max_position_embeddings=16),
                                         original_max_position_embeddings=16), "phi3"),
        "qwen3moe": (t.Qwen3MoeConfig, dict(moe, norm_topk_prob=True, rope_parameters={"rope_type": "default", "rope_theta": 1e6}), "qwen3moe"),
    }


def random_model(name, config_class, fields):
    torch.manual_seed(sum(map(ord, name)))
    config = config_class(**fields)
    config._attn_implementation = "eager"  # soft caps and windows as written
    config._experts_implementation = "eager"
    config.torch_dtype = "float32"
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    less_one = name.startswith("gemma")
    with torch.no_grad():
        for key, value in model.named_parameters():
            if value.dim() == 1:  # gains around 1, biases around 0
                centre = 0 if key.endswith("bias") or less_one else 1
                value.copy_(centre + 0.3 * torch.randn_like(value))
            else:
                value.copy_(torch.randn_like(value) * (1.0 if "embed" in key and not less_one else 1.5 / math.sqrt(value.shape[-1])))
    return config, model


# ---- GGUF: names and keys as llama.cpp's converter writes them

LAYER_NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "self_attn.qkv_proj": "attn_qkv", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.gate_up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    "mlp.gate": "ffn_gate_inp", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
}
GEMMA_NAMES = dict(LAYER_NAMES, **{"post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm",
                                   "post_feedforward_layernorm": "post_ffw_norm"})
TOP_NAMES = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def permuted(value, heads):
    """Rows of Q or K so that pairs (i, i + dims/2) of a head become neighbours."""
    return value.reshape(heads, 2, value.shape[0] // heads // 2, *value.shape[1:]).swapaxes(1, 2).reshape(value.shape)


def gguf_tensors(config, state, architecture):
    names = GEMMA_NAMES if architecture.startswith("gemma") else LAYER_NAMES
    for key, value in state.items():
        value = value.float().numpy()
        stem, kind = key.rsplit(".", 1)
        if stem in TOP_NAMES:
            if stem == "lm_head" and config.tie_word_embeddings:
                continue
            out = TOP_NAMES[stem]
        elif ".experts" in key:
            blk = f"blk.{key.split('.')[2]}."
            if key.endswith("gate_up_proj"):
                yield blk + "ffn_gate_exps.weight", value[:, : value.shape[1] // 2]
                yield blk + "ffn_up_exps.weight", value[:, value.shape[1] // 2:]
            else:
                yield blk + "ffn_down_exps.weight", value
            continue
        else:
            layer, inner = stem.split(".", 3)[2:]
            out = f"blk.{layer}.{names[inner]}"
        if architecture == "llama" and out.endswith("attn_q"):
            value = permuted(value, config.num_attention_heads)
        if architecture == "llama" and out.endswith("attn_k"):
            value = permuted(value, config.num_key_value_heads)
        if architecture.startswith("gemma") and out.endswith("norm"):
            value = value + 1
        yield f"{out}.{kind}", value


def llama3_factors(config, head_dim):
    """What the converter stores as rope_freqs: long wavelengths are stretched, short ones are not, between them a blend."""
    rope = config.rope_parameters
    factor, low, high, old = (rope[k] for k in ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"))
    out = []
    for i in range(0, head_dim, 2):
        wavelength = 2 * math.pi * rope["rope_theta"] ** (i / head_dim)
        if wavelength < old / high:
            out.append(1)
        elif wavelength > old / low:
            out.append(factor)
        else:
            smooth = (old / wavelength - low) / (high - low)
            out.append(1 / ((1 - smooth) / factor + smooth))
    return out


def write_gguf(path, name, config, state, architecture):
    w = gguf.GGUFWriter(str(path), architecture)
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    w.add_name(name)
    w.add_block_count(config.num_hidden_layers)
    w.add_context_length(config.max_position_embeddings)
    w.add_embedding_length(config.hidden_size)
    w.add_feed_forward_length(config.intermediate_size)
    w.add_head_count(config.num_attention_heads)
    w.add_head_count_kv(config.num_key_value_heads)
    w.add_layer_norm_rms_eps(config.rms_norm_eps)
    w.add_vocab_size(config.vocab_size)
    if architecture != "phi3":
        w.add_key_length(head_dim)
        w.add_value_length(head_dim)
    rope = config.rope_parameters
    full = rope.get("full_attention", rope)
    dims = int(head_dim * full.get("partial_rotary_factor", 1.0))
    w.add_rope_dimension_count(dims)
    w.add_rope_freq_base(full["rope_theta"])
    if full["rope_type"] == "linear":
        w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        w.add_rope_scaling_factor(full["factor"])
    if full["rope_type"] == "llama3":
        w.add_tensor("rope_freqs.weight", np.array(llama3_factors(config, head_dim), dtype=np.float32))
    if full["rope_type"] == "longrope":
        old = full["original_max_position_embeddings"]
        w.add_rope_scaling_orig_ctx_len(old)
        scale = config.max_position_embeddings / old
        w.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(scale) / math.log(old)))
        w.add_tensor("rope_factors_long.weight", np.array(full["long_factor"], dtype=np.float32))
        w.add_tensor("rope_factors_short.weight", np.array(full["short_factor"], dtype=np.float32))
    if getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True):
        w.add_sliding_window(config.sliding_window)
    if architecture.startswith("gemma"):
        w.add_float32(f"{architecture}.attention.scale", config.query_pre_attn_scalar**-0.5)  # the converter knows two values by the size
        if config.attn_logit_softcapping:
            w.add_attn_logit_softcapping(config.attn_logit_softcapping)
        if config.final_logit_softcapping:
            w.add_final_logit_softcapping(config.final_logit_softcapping)
    if architecture == "qwen3moe":
        w.add_expert_count(config.num_experts)
        w.add_expert_used_count(config.num_experts_per_tok)
        w.add_expert_feed_forward_length(config.moe_intermediate_size)
    for tensor, value in gguf_tensors(config, state, architecture):
        w.add_tensor(tensor, np.ascontiguousarray(value, dtype=np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def reference(model, name):
    random = np.random.default_rng(len(name))
    out = []
    for _ in range(PROMPTS):
        ids = [int(i) for i in random.integers(3, VOCABULARY, PROMPT_TOKENS)]
        tokens = list(ids)
        with torch.no_grad():
            for step in range(GREEDY):
                logits = model(torch.tensor([tokens]), use_cache=False).logits[0, -1]
                if step == 0:
                    first = [float(x) for x in logits]
                tokens.append(int(logits.argmax()))
        out.append({"ids": ids, "logits": first, "greedy": tokens[PROMPT_TOKENS:]})
    return out


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    for name, (config_class, fields, architecture) in models().items():
        if len(sys.argv) > 2 and name not in sys.argv[2:]:
            continue
        config, model = random_model(name, config_class, fields)
        (folder / name).mkdir(parents=True, exist_ok=True)
        model.save_pretrained(folder / name)
        write_gguf(folder / f"{name}.gguf", name, config, model.state_dict(), architecture)
        context = config.rope_parameters.get("original_max_position_embeddings", 0) if "phi3" in name else 0
        (folder / f"{name}.json").write_text(json.dumps({"architecture": architecture, "long_beyond": context, "prompts": reference(model, name)}))
        print(f"{name}: {sum(p.numel() for p in model.parameters())} parameters")


main()
