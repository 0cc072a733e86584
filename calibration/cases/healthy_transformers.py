"""Healthy transformers: every common placement of norms, scale of embeddings and start of residual branches."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from calibration.cases.healthy_tasks import CLASSES, VOCABULARY, Book, classes_of, images, of_tokens, tokens

book = Book()
WIDTH = 32
language = partial(book.healthy, family="transformer", task=tokens, loss=of_tokens, steps=150)
classifier = partial(book.healthy, family="transformer", task=classes_of, steps=150)
vision = partial(book.healthy, family="transformer", task=images, steps=150, learning_rate=2e-3)


class _Attention(nn.Module):
    """Causal or full self-attention; `scaled` divides the scores by the root of the head size."""

    def __init__(self, width: int = WIDTH, heads: int = 4, *, causal: bool = True, scaled: bool = True) -> None:
        super().__init__()
        self.heads, self.causal, self.scaled = heads, causal, scaled
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        scores = query @ key.transpose(-1, -2)
        return scores / math.sqrt(query.shape[-1]) if self.scaled else scores

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        scores = self.scores(query, key)
        if self.causal:
            future = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
            scores = scores.masked_fill(future, -math.inf)
        return self.out((scores.softmax(-1) @ value).transpose(1, 2).flatten(2))


class _Block(nn.Module):
    def __init__(self, attention: nn.Module, *, width: int = WIDTH, post: bool = False) -> None:
        super().__init__()
        self.attention, self.post = attention, post
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.enter, self.leave = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def _mlp(self, x: Tensor) -> Tensor:
        return self.leave(functional.gelu(self.enter(x)))

    def forward(self, x: Tensor) -> Tensor:
        if self.post:
            x = self.norms[0](x + self.attention(x))
            return self.norms[1](x + self._mlp(x))
        x = x + self.attention(self.norms[0](x))
        return x + self._mlp(self.norms[1](x))


class _Decoder(nn.Module):
    """A language model; `scale` multiplies the embeddings, `tied` reads the logits with the embedding's own table."""

    def __init__(
        self, *, depth: int = 3, std: float = 0.02, scale: float = 1.0, tied: bool = False, post: bool = False,
        logit_scale: float = 1.0, attention: Callable[[], nn.Module] = _Attention,
    ) -> None:  # fmt: skip
        super().__init__()
        self.embedding, self.positions = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(16, WIDTH)
        self.blocks = nn.ModuleList([_Block(attention(), post=post) for _ in range(depth)])
        self.final = nn.Identity() if post else nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)
        self.scale, self.logit_scale = scale, logit_scale
        nn.init.normal_(self.embedding.weight, std=std)
        nn.init.normal_(self.positions.weight, std=std * scale)
        if tied:
            self.head.weight = self.embedding.weight

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embedding(ids) * self.scale + self.positions(torch.arange(ids.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.head(self.final(x) * self.logit_scale)


@language(
    "pre-norm-decoder", "The stream of a pre-norm transformer grows linearly with depth; the last norm takes it back."
)
def _pre_norm() -> nn.Module:
    return _Decoder()


@language(
    "pre-norm-decoder-12-layers",
    "Twelve pre-norm blocks on embeddings of 0.02: the first block outgrows the input.",
    learning_rate=1e-3,
)
def _deep_pre_norm() -> nn.Module:
    return _Decoder(depth=12)


@language(
    "post-norm-decoder", "A shallow post-norm transformer: norms re-inflate the small embeddings.", learning_rate=1e-3
)
def _post_norm() -> nn.Module:
    return _Decoder(post=True, depth=2, std=0.02)


def _gpt(model: _Decoder) -> _Decoder:
    """Sets the start of GPT-2: 0.02 everywhere, the projections onto the stream smaller by the root of their number."""
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif parameter.dim() == 2:
            onto_stream = name.endswith(("out.weight", "leave.weight"))
            nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * len(model.blocks)) if onto_stream else 0.02)
    return model


@language("gpt-scaled-residuals", "GPT-2's start, with projections onto the stream drawn a second time and smaller.")
def _nano() -> nn.Module:
    return _gpt(_Decoder(depth=6, tied=True))


@language(
    "unscaled-scores-small-queries", "T5's way: no 1/sqrt(d) in the scores, the query's weights are smaller instead."
)
def _unscaled() -> nn.Module:
    model = _Decoder(std=1.0, attention=lambda: _Attention(scaled=False))
    for block in model.blocks:
        nn.init.normal_(block.attention.query.weight, std=(WIDTH * 8) ** -0.5)
        nn.init.normal_(block.attention.key.weight, std=WIDTH**-0.5)
    nn.init.normal_(model.head.weight, std=WIDTH**-0.5)
    return model


@language("tied-embedding-0.02", "One table for reading and writing, drawn small.")
def _tied_small() -> nn.Module:
    return _Decoder(tied=True, std=0.02)


@language("tied-embedding-d-half", "One table of std d^-0.5, multiplied by sqrt(d) where it is read.")
def _tied_root() -> nn.Module:
    return _Decoder(tied=True, std=WIDTH**-0.5, scale=WIDTH**0.5)


@language(
    "tied-embedding-rescaled-logits",
    "T5's tied table of std 1 with the hidden state divided by sqrt(d).",
    steps=300,
    learning_rate=5e-3,
)
def _tied_rescaled() -> nn.Module:
    return _Decoder(tied=True, std=1.0, logit_scale=WIDTH**-0.5)


@language("zero-query", "All queries are zero at first, so attention starts uniform and the keys have no gradient yet.")
def _zero_query() -> nn.Module:
    model = _Decoder()
    for block in model.blocks:
        nn.init.zeros_(block.attention.query.weight)
        nn.init.zeros_(block.attention.query.bias)
    return model


@language(
    "mup-zero-readout", "muP's advice: the readout starts at zero and the logits are divided by the width's ratio."
)
def _mup() -> nn.Module:
    model = _Decoder(logit_scale=0.5)
    nn.init.zeros_(model.head.weight)
    return model


class _CosineAttention(_Attention):
    """Scores are cosines times a learned temperature that starts at ten."""

    def __init__(self) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.full((self.heads, 1, 1), math.log(10.0)))

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        cosine = functional.normalize(query, dim=-1) @ functional.normalize(key, dim=-1).transpose(-1, -2)
        return cosine * self.temperature.clamp(max=math.log(100.0)).exp()


@language(
    "cosine-attention", "Scores within plus and minus ten by a learned temperature: peaked rows are free to relax."
)
def _cosine() -> nn.Module:
    return _Decoder(attention=_CosineAttention)


class _SharedDepth(_Decoder):
    def __init__(self) -> None:
        super().__init__(depth=1)
        self.repeats = 4

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embedding(ids) + self.positions(torch.arange(ids.shape[1]))
        for _ in range(self.repeats):
            x = self.blocks[0](x)
        return self.head(self.final(x))


@language("shared-layers-in-series", "One block used four times in series, as ALBERT does.")
def _albert() -> nn.Module:
    return _SharedDepth()


class _Encoder(nn.Module):
    """torch's own encoder over embeddings scaled by the root of their width, mean pooled."""

    def __init__(self, *, norm_first: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, 4, 64, dropout=0.1, batch_first=True, norm_first=norm_first)
        self.encoder = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, CLASSES)
        nn.init.normal_(self.embedding.weight, std=WIDTH**-0.5)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.encoder(self.embedding(ids) * math.sqrt(WIDTH)).mean(1))


@classifier(
    "torch-encoder-post-norm", "torch copies one layer: clones in series see different inputs and part at once."
)
def _encoder() -> nn.Module:
    return _Encoder(norm_first=False)


@classifier("torch-encoder-pre-norm", "The same clones with the norm first.")
def _pre_encoder() -> nn.Module:
    return _Encoder(norm_first=True)


class _Experts(nn.Module):
    """A feed-forward layer of which each token uses the best two of eight experts."""

    def __init__(self, width: int = WIDTH, experts: int = 8, top: int = 2) -> None:
        super().__init__()
        self.top, self.router = top, nn.Linear(width, experts, bias=False)
        self.experts = nn.ModuleList(
            [nn.Sequential(nn.Linear(width, 32), nn.GELU(), nn.Linear(32, width)) for _ in range(experts)]
        )

    def forward(self, x: Tensor) -> Tensor:
        best, chosen = self.router(x).softmax(-1).topk(self.top, dim=-1)
        best, result = best / best.sum(-1, keepdim=True), torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            row, place = torch.where(chosen.flatten(0, -2) == number)
            if len(row):
                flat = expert(x.flatten(0, -2)[row]) * best.flatten(0, -2)[row, place, None]
                result = result.flatten(0, -2).index_add(0, row, flat).view_as(x)
        return result


class _ExpertLanguage(nn.Module):
    def __init__(self, *, experts: int, top: int) -> None:
        super().__init__()
        self.embedding, self.experts = nn.Embedding(VOCABULARY, WIDTH), _Experts(experts=experts, top=top)
        self.norm, self.final = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, VOCABULARY)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embedding(ids)
        return self.head(self.final(x + self.experts(self.norm(x))))


experts = partial(book.healthy, family="moe", task=tokens, loss=of_tokens, steps=150)


@experts("experts-top-2-of-8", "Each token takes two of eight experts; the others wait for their tokens.")
def _top_two() -> nn.Module:
    return _ExpertLanguage(experts=8, top=2)


@experts("experts-top-2-of-48", "With more experts than the batch needs, some are chosen by no token of it.", steps=200)
def _many_experts() -> nn.Module:
    return _ExpertLanguage(experts=48, top=2)


class _ImageTransformer(nn.Module):
    """A vision transformer: class token zero, position table 0.02, weights 0.02 in the head."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, WIDTH, 4, stride=4)
        self.token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.positions = nn.Parameter(torch.zeros(1, 17, WIDTH))
        nn.init.trunc_normal_(self.positions, std=0.02)
        self.blocks = nn.ModuleList([_Block(_Attention(causal=False)) for _ in range(3)])
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, CLASSES)
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.positions
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x[:, 0]))


@vision("vision-transformer", "The class token is zero and equal in all samples; attention fills it.")
def _image_transformer() -> nn.Module:
    return _ImageTransformer()


class _Latents(nn.Module):
    """A Perceiver: eight learned latents of std 0.02 read the pixels by cross-attention."""

    def __init__(self) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.randn(8, WIDTH) * 0.02)
        self.enter, self.positions = nn.Linear(3, WIDTH), nn.Parameter(torch.randn(256, WIDTH) * 0.02)
        self.cross = nn.MultiheadAttention(WIDTH, 2, batch_first=True)
        self.query_norm, self.input_norm = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.blocks = nn.ModuleList([_Block(_Attention(causal=False)) for _ in range(2)])
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.input_norm(self.enter(x.flatten(2).transpose(1, 2)) + self.positions)
        latents = self.latents.expand(len(x), -1, -1)
        latents = latents + self.cross(self.query_norm(latents), x, x, need_weights=False)[0]
        for block in self.blocks:
            latents = block(latents)
        return self.head(latents.mean(1))


@vision("perceiver-latents", "Latents are the same for all samples until they have read the input.", steps=250)
def _perceiver() -> nn.Module:
    return _Latents()


class _MixerBlock(nn.Module):
    def __init__(self, patches: int = 16) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)])
        self.across = nn.Sequential(nn.Linear(patches, 32), nn.GELU(), nn.Linear(32, patches))
        self.within = nn.Sequential(nn.Linear(WIDTH, 64), nn.GELU(), nn.Linear(64, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.across(self.norms[0](x).transpose(1, 2)).transpose(1, 2)
        return x + self.within(self.norms[1](x))


@vision("mlp-mixer", "Linear layers over patches and over channels in turn, with a zero head as published.")
def _mixer() -> nn.Module:
    head = nn.Linear(WIDTH, CLASSES)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return nn.Sequential(
        nn.Conv2d(3, WIDTH, 4, stride=4),
        nn.Flatten(2),
        _Turn(),
        *[_MixerBlock() for _ in range(3)],
        nn.LayerNorm(WIDTH),
        _Mean(),
        head,
    )


class _Turn(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2)


class _Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


CASES = book.cases
