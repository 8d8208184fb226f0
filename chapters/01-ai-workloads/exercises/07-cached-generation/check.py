"""Gates on tokens, logits and counted positions, for random small Transformers."""

import math
from dataclasses import replace

import torch
from sysai.core.language import Text
from sysai.exercises.configs import random_config
from sysai.exercises.show import show
from sysai.exercises.trial import Hint, Trial
from sysai.models.attention import causal_mask
from sysai.models.layers import rotate
from sysai.models.transformer import Transformer
from torch import Tensor

PRELOAD = ("torch",)
torch.set_num_threads(1)  # products this small lose more by waiting for threads, on a busy machine twentyfold
POSITIONS = Text("Positions projected in each layer", "每层投影的位置数")
CALLS = Text("Calls of `project` for each layer", "每层调用`project`的次数")
SCORED = Text("Positions given to `score`", "交给`score`的位置数")
NO_CACHE = Text(
    "The whole sequence passed through the model for every new token. The tokens are right, but the cache saves "
    "nothing: pass only the positions that are not in it.",
    "每写一个词元，整个序列都通过了一遍模型。词元是对的，但KV缓存什么也没有省下：只应送入KV缓存里还没有的位置。",
)
LAST_TOKEN = Text(
    "One too many: the last token was passed through the model as well, though nobody asks what follows it.",
    "多了一个：最后一个词元也送进了模型，可没有人要它的下文。",
)
TOKEN_BEFORE = Text(
    "Each new token was passed along with the token before it, which is in the cache already.",
    "每个新词元都和前一个词元一起送了进去，而前一个已经在KV缓存里。",
)
ONE_BY_ONE = Text(
    "The prompt was read a token at a time. A pass takes up to `chunk` tokens of it at once.",
    "提示词是一个词元一个词元读的。一次可以读入至多`chunk`个。",
)
AT_ONCE = Text(
    "The prompt was read in one piece. A pass may take at most `chunk` tokens of it.",
    "提示词是一次读完的。一次至多可以读入`chunk`个词元。",
)
EVERYWHERE = Text(
    "You scored every position. Only the last one of the prompt and the new tokens need logits; the head is the "
    "largest matrix of many models.",
    "你给每个位置都求了分数。只有提示词的最后一个位置和新词元需要logits；在许多模型里，输出头是最大的矩阵。",
)
EVERY_CHUNK = Text(
    "You scored the last position of every chunk. Only that of the last chunk is asked for.",
    "你给每一块的最后一个位置都求了分数。只有最后一块的才用得上。",
)


def check(trial: Trial) -> None:
    _check(trial, prompt_length=12, n_new=8, chunk=5)
    for _ in range(10):
        prompt_length = trial.random.randint(2, 20)
        _check(trial, prompt_length, trial.random.randint(2, 8), trial.random.randint(1, prompt_length + 3))
    _check(trial, prompt_length=9, n_new=1, chunk=3)


def _check(trial: Trial, prompt_length: int, n_new: int, chunk: int) -> None:
    model = _model(trial)
    prompt = [trial.random.randrange(model.config.vocab_size) for _ in range(prompt_length)]
    expected, logits_NV = _without_cache(model, prompt, n_new)
    lent = Lent(model)
    parts = {name: trial.callback(getattr(lent, name)) for name in ("embed", "project", "finish", "score")}
    sizes = {"n_layers": model.config.n_layers, "prompt": prompt, "n_new": n_new, "chunk": chunk}
    tokens, got_NV = trial.call("generate", **parts, **sizes)
    if lent.pieces:
        trial.picture(lent.picture())
    trial.expect_tensor(got_NV, logits_NV, rtol=1e-3, atol=1e-3, what=Text("Logits", "logits"))
    trial.expect_equal(tokens, expected, what=Text("Tokens", "词元"))
    positions, calls = prompt_length + n_new - 1, math.ceil(prompt_length / chunk) + n_new - 1
    hints = [
        Hint(sum(range(prompt_length, prompt_length + n_new)), NO_CACHE),
        Hint(positions + 1, LAST_TOKEN),
        Hint(positions + n_new - 1, TOKEN_BEFORE),
    ]
    for lengths in lent.projected:
        trial.expect_equal(sum(lengths), positions, what=POSITIONS, hints=hints)
        trial.expect_equal(len(lengths), calls, what=CALLS, hints=[Hint(positions, ONE_BY_ONE), Hint(n_new, AT_ONCE)])
    trial.expect_equal(lent.scored, n_new, what=SCORED, hints=[Hint(positions, EVERYWHERE), Hint(calls, EVERY_CHUNK)])


def _model(trial: Trial) -> Transformer:
    """A small model whose weights are large enough for attention to decide the answer."""
    torch.manual_seed(trial.random.randrange(2**31))
    config = replace(random_config(trial.random, width=32), vocab_size=trial.random.randint(40, 90))
    model = Transformer(config).eval().requires_grad_(False)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter *= 10
    return model


def _without_cache(model: Transformer, prompt: list[int], n_new: int) -> tuple[list[int], Tensor]:
    """The reference: the whole sequence through the model for every new token."""
    tokens, logits = list(prompt), []
    for _ in range(n_new):
        logits.append(model(torch.tensor([tokens]))[0, -1])
        tokens.append(int(logits[-1].argmax()))
    return tokens[len(prompt) :], torch.stack(logits)


class Lent:
    """The model's parts as the answer calls them, and what it passed through them."""

    def __init__(self, model: Transformer) -> None:
        self.model, self.config = model, model.config
        self.pieces: list[list[int]] = []  # tokens of each call of embed
        self.projected: list[list[int]] = [[] for _ in model.blocks]  # by layer: positions of each call of project
        self.first_layer: list[Tensor] = []  # what each call left layer 0 with
        self.scored = 0

    def embed(self, tokens: list[int]) -> Tensor:
        ids = range(self.config.vocab_size)
        are_ids = type(tokens) is list and tokens != [] and all(token in ids for token in tokens)
        _demand(are_ids, f"embed takes a list of token ids from 0 to {ids[-1]}, such as [3, 1, 4]", tokens)
        self.pieces.append(tokens)
        return self.model.embed(torch.tensor(tokens))

    def project(self, layer: int, x_TD: Tensor, start: int) -> tuple[Tensor, ...]:
        self._check("project", x_TD, layer)
        last = self.config.max_positions - len(x_TD)
        _demand(type(start) is int and 0 <= start <= last, f"project: start must be from 0 to {last}", start)
        self.projected[layer].append(len(x_TD))
        block, rotation = self.model.blocks[layer], self.model.rope(start, len(x_TD))
        normed_TD, attention = block.attention_norm(x_TD), block.attention
        q, k, v = (
            matrix(normed_TD).unflatten(-1, (-1, attention.head_dim)).transpose(0, 1)
            for matrix in (attention.query, attention.key, attention.value)
        )
        return rotate(q, rotation), rotate(k, rotation), v

    def finish(self, layer: int, x_TD: Tensor, mixed_THK: Tensor) -> Tensor:
        self._check("finish", x_TD, layer)
        shape = (len(x_TD), self.config.n_heads, self.config.head_dim)
        fits = isinstance(mixed_THK, Tensor) and mixed_THK.shape == shape
        _demand(fits, f"finish: mixed_THK must be a tensor [T, H, K] = {[*shape]}", mixed_THK)
        block = self.model.blocks[layer]
        x_TD = x_TD + block.attention.output(mixed_THK.flatten(1))
        x_TD = x_TD + block.mlp(block.mlp_norm(x_TD))
        if layer == 0:
            self.first_layer.append(x_TD)
        return x_TD

    def score(self, x_TD: Tensor) -> Tensor:
        self._check("score", x_TD)
        self.scored += len(x_TD)
        head = self.model.embed if self.config.tie_embeddings else self.model.head
        return self.model.norm(x_TD) @ head.weight.T

    def picture(self) -> Text:
        """A line for each pass, headed by its first position; a sign for each token: whether it left layer 0 right."""
        tokens = [token for piece in self.pieces for token in piece][: self.config.max_positions]
        x_BTD = self.model.embed(torch.tensor([tokens], dtype=torch.long))
        rotation, mask_TT = self.model.rope(0, len(tokens)), causal_mask(len(tokens), 0, like=x_BTD)
        expected_TD = self.model.blocks[0](x_BTD, rotation, mask_TT, None)[0]
        lines, start = [], 0
        for piece, y_TD in zip(self.pieces, self.first_layer, strict=False):
            rows = zip(y_TD, expected_TD[start : start + len(y_TD)], strict=False)
            right = (torch.allclose(got, expected, rtol=1e-3, atol=1e-3) for got, expected in rows)
            lines.append(f"{start:>4}  {''.join('·' if ok else '█' for ok in right)}")
            start += len(piece)
        drawn = "\n".join(lines)
        return Text(
            f"tokens after layer 0, pass by pass: · right  █ wrong\n{drawn}",
            f"各次调用的词元经过第0层之后：·对  █错\n{drawn}",
        )

    def _check(self, name: str, x_TD: Tensor, layer: int = 0) -> None:
        layers, width = range(self.config.n_layers), self.config.d_model
        _demand(type(layer) is int and layer in layers, f"{name}: layer must be from 0 to {layers[-1]}", layer)
        fits = isinstance(x_TD, Tensor) and x_TD.dim() == 2 and len(x_TD) > 0 and x_TD.shape[1] == width
        _demand(fits, f"{name}: x_TD must be a tensor [T, {width}]", x_TD)


def _demand(holds: bool, remedy: str, got: object) -> None:
    if not holds:
        raise ValueError(f"{remedy}, not {show(got)}")
