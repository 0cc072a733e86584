"""Published architectures of timm and transformers with random weights: most at their real depth, some shrunk in width.

No start among them is taken for a fault: people train them as they are.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from calibration.case import Case
from calibration.vision_ops import declare_vision_operators

CLASSES = 10
VOCABULARY = 96
Parts = tuple[Any, Any, Any, Any]

# fmt: off  (one model a line reads best)
IMAGE_MODELS: tuple[tuple[str, int, dict[str, Any]], ...] = (
    # timm's name, side of the image, changed settings
    ("resnet18", 64, {}),
    ("resnet26d", 64, {}),
    ("resnet50", 64, {"channels": (16, 32, 64, 96), "base_width": 16}),
    ("seresnext50_32x4d", 64, {"layers": (1, 1, 1, 1), "cardinality": 4, "base_width": 16}),
    ("skresnet18", 64, {}),
    ("resnetv2_50", 64, {"channels": (32, 64, 96, 128)}),
    ("nf_regnet_b0", 64, {}),
    ("mobilenetv2_050", 64, {}),
    ("mobilenetv3_small_050", 64, {}),
    ("mobilenetv4_conv_small_050", 64, {}),
    ("mobileone_s0", 64, {}),
    ("efficientnet_b0", 64, {}),
    ("efficientnet_lite0", 64, {}),
    ("mnasnet_small", 64, {}),
    ("tinynet_e", 64, {}),
    ("lcnet_050", 64, {}),
    ("ghostnet_050", 64, {}),
    ("hardcorenas_a", 64, {}),
    ("rexnet_100", 64, {}),
    ("regnetx_002", 64, {}),
    ("regnety_002", 64, {}),
    ("repvgg_a0", 64, {}),
    ("hgnetv2_b0", 64, {}),
    ("dla46x_c", 64, {}),
    ("densenet121", 64, {"growth_rate": 12}),
    ("ese_vovnet19b_slim", 64, {}),
    ("convnext_atto", 64, {}),
    ("convnextv2_atto", 64, {}),
    ("inception_next_atto", 64, {}),
    ("edgenext_xx_small", 64, {}),
    ("starnet_s1", 64, {}),
    ("mambaout_femto", 64, {}),
    ("repvit_m0_9", 64, {}),
    ("efficientvit_b0", 64, {}),
    ("fastvit_t8", 64, {}),
    ("mobilevit_xxs", 64, {}),
    ("twins_svt_small", 64, {"img_size": 64, "embed_dims": (16, 32, 64, 128), "depths": (1, 1, 2, 1)}),
    ("pvt_v2_b0", 64, {}),
    ("vit_tiny_patch16_224", 64, {"img_size": 64}),
    ("vit_medium_patch16_reg4_gap_256", 64, {"img_size": 64, "embed_dim": 96, "num_heads": 4}),
    ("deit_tiny_distilled_patch16_224", 64, {"img_size": 64}),
    ("deit3_small_patch16_224", 64, {"img_size": 64, "embed_dim": 96, "num_heads": 3}),
    ("beit_base_patch16_224", 64, {"img_size": 64, "embed_dim": 96, "num_heads": 4}),
    ("eva02_tiny_patch14_224", 56, {"img_size": 56, "embed_dim": 96, "num_heads": 3}),
    ("cait_xxs24_224", 64, {"img_size": 64, "embed_dim": 96}),
    ("xcit_nano_12_p16_224", 64, {}),
    ("convit_tiny", 64, {"img_size": 64}),
    ("levit_128s", 64, {"img_size": 64}),
    ("swin_tiny_patch4_window7_224", 56, {"img_size": 56, "embed_dim": 32, "num_heads": (1, 2, 4, 8)}),
    ("swinv2_tiny_window8_256", 64, {"img_size": 64, "embed_dim": 32, "num_heads": (1, 2, 4, 8)}),
    ("coat_lite_tiny", 64, {"img_size": 64}),
    ("gmlp_ti16_224", 64, {"img_size": 64}),
    ("tiny_vit_5m_224", 64, {}),
)

WIDTHS: dict[str, Any] = {
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 96,
}
DEEP: dict[str, Any] = {**WIDTHS, "num_hidden_layers": 12}
TEXT: dict[str, Any] = {**WIDTHS, "vocab_size": VOCABULARY, "max_position_embeddings": 64, "num_labels": CLASSES}
DECODER: dict[str, Any] = {**TEXT, "num_key_value_heads": 2, "head_dim": 12}
ENDS: dict[str, Any] = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
PAIR: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "d_model": 48,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 96,
    "decoder_ffn_dim": 96,
    "max_position_embeddings": 64,
    **ENDS,
}
VISION: dict[str, Any] = {**WIDTHS, "image_size": 32, "patch_size": 8, "num_labels": CLASSES}
SOUND: dict[str, Any] = {
    **WIDTHS,
    "vocab_size": VOCABULARY,
    "conv_dim": (16, 16, 16),
    "conv_stride": (5, 4, 2),
    "conv_kernel": (10, 8, 4),
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "num_labels": CLASSES,
    "classifier_proj_size": 16,
}

LANGUAGE_MODELS: tuple[tuple[str, str, Mapping[str, Any]], ...] = (
    # class, what is asked of it (next token, every token, class of the text, its own loss), configuration
    ("BertForMaskedLM", "each", TEXT),
    ("BertForSequenceClassification", "class", {**TEXT, **DEEP}),
    ("RobertaForSequenceClassification", "class", TEXT),
    (
        "DistilBertForSequenceClassification",
        "class",
        {
            "vocab_size": VOCABULARY,
            "dim": 48,
            "n_layers": 2,
            "n_heads": 4,
            "hidden_dim": 96,
            "max_position_embeddings": 64,
            "num_labels": CLASSES,
        },
    ),
    ("AlbertForMaskedLM", "each", {**TEXT, "embedding_size": 16}),
    ("ElectraForSequenceClassification", "class", {**TEXT, "embedding_size": 16}),
    (
        "DebertaV2ForSequenceClassification",
        "class",
        {**TEXT, "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8},
    ),
    ("ModernBertForMaskedLM", "each", {**TEXT, **ENDS, "cls_token_id": 1, "sep_token_id": 2}),
    ("FNetForSequenceClassification", "class", {**TEXT, "tpu_short_seq_length": 16}),
    ("MPNetForMaskedLM", "each", TEXT),
    ("XLNetLMHeadModel", "own", {"vocab_size": VOCABULARY, "d_model": 48, "n_layer": 2, "n_head": 4, "d_inner": 96}),
    (
        "GPT2LMHeadModel",
        "next",
        {**ENDS, "vocab_size": VOCABULARY, "n_positions": 64, "n_embd": 48, "n_layer": 12, "n_head": 4},
    ),
    ("GPTNeoXForCausalLM", "next", TEXT),
    (
        "GPTJForCausalLM",
        "next",
        {**ENDS, "vocab_size": VOCABULARY, "n_positions": 64, "n_embd": 48, "n_layer": 2, "n_head": 4, "rotary_dim": 8},
    ),
    ("BloomForCausalLM", "next", {**ENDS, "vocab_size": VOCABULARY, "hidden_size": 48, "n_layer": 2, "n_head": 4}),
    (
        "FalconForCausalLM",
        "next",
        {**ENDS, "vocab_size": VOCABULARY, "hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4},
    ),
    (
        "OPTForCausalLM",
        "next",
        {
            "vocab_size": VOCABULARY,
            "hidden_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "ffn_dim": 96,
            "word_embed_proj_dim": 24,
            "max_position_embeddings": 64,
        },
    ),
    ("LlamaForCausalLM", "next", {**DECODER, "num_hidden_layers": 12}),
    ("MistralForCausalLM", "own", DECODER),
    ("Qwen3ForCausalLM", "next", DECODER),
    ("Gemma2ForCausalLM", "next", DECODER),
    ("Phi3ForCausalLM", "next", {**DECODER, **ENDS}),
    ("OlmoForCausalLM", "own", DECODER),
    ("Starcoder2ForCausalLM", "next", DECODER),
    ("StableLmForCausalLM", "next", {**TEXT, "hidden_size": 64, "num_key_value_heads": 4}),
    ("GraniteForCausalLM", "next", DECODER),
    ("MixtralForCausalLM", "next", {**DECODER, "num_local_experts": 4}),
    (
        "DeepseekV3ForCausalLM",
        "next",
        {
            **TEXT,
            "num_key_value_heads": 4,
            "q_lora_rank": 16,
            "kv_lora_rank": 16,
            "qk_rope_head_dim": 8,
            "qk_nope_head_dim": 8,
            "v_head_dim": 8,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "n_group": 2,
            "topk_group": 1,
            "moe_intermediate_size": 16,
            "first_k_dense_replace": 1,
            "n_shared_experts": 1,
        },
    ),
    (
        "MambaForCausalLM",
        "next",
        {"vocab_size": VOCABULARY, "hidden_size": 48, "state_size": 8, "num_hidden_layers": 2, "time_step_rank": 4},
    ),
    (
        "Mamba2ForCausalLM",
        "next",
        {
            "vocab_size": VOCABULARY,
            "hidden_size": 48,
            "state_size": 8,
            "num_hidden_layers": 2,
            "num_heads": 12,
            "head_dim": 8,
            "n_groups": 2,
            "chunk_size": 8,
        },
    ),
    (
        "RwkvForCausalLM",
        "next",
        {"vocab_size": VOCABULARY, "hidden_size": 48, "num_hidden_layers": 2, "context_length": 64},
    ),
    (
        "T5ForConditionalGeneration",
        "pair",
        {
            "vocab_size": VOCABULARY,
            "d_model": 48,
            "d_kv": 12,
            "d_ff": 96,
            "num_layers": 2,
            "num_heads": 4,
            "relative_attention_num_buckets": 8,
        },
    ),
    ("BartForConditionalGeneration", "pair", PAIR),
    ("MarianMTModel", "pair", {**PAIR, "decoder_start_token_id": 0}),
    ("PegasusForConditionalGeneration", "pair", PAIR),
    ("ViTForImageClassification", "image", VISION),
    ("DeiTForImageClassification", "image", VISION),
    ("Dinov2ForImageClassification", "image", VISION),
    (
        "ConvNextForImageClassification",
        "image",
        {"hidden_sizes": [16, 24, 32, 48], "depths": [2, 2, 2, 2], "num_labels": CLASSES},
    ),
    (
        "SegformerForImageClassification",
        "image",
        {
            "hidden_sizes": [8, 16, 24, 32],
            "depths": [2, 2, 2, 2],
            "num_attention_heads": [1, 2, 2, 2],
            "num_labels": CLASSES,
        },
    ),
    ("Wav2Vec2ForSequenceClassification", "sound", SOUND),
    ("HubertForSequenceClassification", "sound", SOUND),
)
# fmt: on


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def _tokens(*shape: int) -> Tensor:
    return torch.randint(3, VOCABULARY, shape, generator=_generator())


def _labels(count: int) -> Tensor:
    return torch.arange(count) * 7 % CLASSES


def _load(library: str) -> Any:
    """Returns timm or transformers, imported offline and quiet; no weight is ever looked for."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    declare_vision_operators()
    return importlib.import_module(library)


def _image_model(name: str, side: int, changed: Mapping[str, Any]) -> Callable[[], Parts]:
    def build() -> Parts:
        model = _load("timm").create_model(name, pretrained=False, num_classes=CLASSES, **changed)
        return model, torch.randn(8, 3, side, side, generator=_generator()), _labels(8), _of_pictures

    return build


def _of_pictures(output: Any, target: Tensor) -> Tensor:
    """Returns the cross-entropy; a distilled network gives two outputs in training, and both are taught."""
    outputs = output if isinstance(output, tuple) else (output,)
    return torch.stack([functional.cross_entropy(one, target) for one in outputs]).mean()


def _of_classes(output: Any, target: Tensor) -> Tensor:
    return functional.cross_entropy(output.logits, target)


def _of_each(output: Any, target: Tensor) -> Tensor:
    return functional.cross_entropy(output.logits.flatten(0, 1), target.flatten())


def _of_next(output: Any, target: Tensor) -> Tensor:
    return functional.cross_entropy(output.logits[:, :-1].flatten(0, 1), target[:, 1:].flatten())


def _batch(asked: str) -> tuple[dict[str, Tensor], Any, Any]:
    """Returns (inputs, targets, loss) of what is asked of a model."""
    ids = _tokens(4, 16)
    if asked == "own":
        return {"input_ids": ids, "labels": ids}, None, None
    if asked == "class":
        return {"input_ids": ids}, _labels(4), _of_classes
    if asked == "pair":
        return {"input_ids": ids, "decoder_input_ids": ids.flip(1)}, ids, _of_each
    if asked == "image":
        return {"pixel_values": torch.randn(8, 3, 32, 32, generator=_generator())}, _labels(8), _of_classes
    if asked == "sound":
        return {"input_values": torch.randn(4, 1600, generator=_generator())}, _labels(4), _of_classes
    return {"input_ids": ids}, ids, {"next": _of_next, "each": _of_each}[asked]


def _language_model(name: str, asked: str, settings: Mapping[str, Any]) -> Callable[[], Parts]:
    def build() -> Parts:
        kind = getattr(_load("transformers"), name)
        return kind(kind.config_class(**settings)), *_batch(asked)

    return build


def _case(name: str, library: str, build: Callable[[], Parts]) -> Case:
    return Case(
        name=f"{library}-{name}", kind="architecture", family=library, build=build,
        why="A published architecture that people train from this start.",
        why_no_training="published architectures are trained by their authors",
    )  # fmt: skip


def _installed(library: str) -> bool:
    return importlib.util.find_spec(library) is not None


CASES = (
    *(_case(name, "timm", _image_model(name, *rest)) for name, *rest in IMAGE_MODELS if _installed("timm")),
    *(
        _case(name, "transformers", _language_model(name, *rest))
        for name, *rest in LANGUAGE_MODELS
        if _installed("transformers")
    ),
)
