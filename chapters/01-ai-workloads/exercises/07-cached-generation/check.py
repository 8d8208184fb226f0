"""Gates on tokens, logits and counted positions, for random small Transformers."""

import math
from dataclasses import replace

import torch
from sysai.core.language import Text
from sysai.exercises.configs import random_config
from sysai.exercises.trial import Hint, Trial
from sysai.models.attention import causal_mask
from sysai.models.layers import rotate
from sysai.models.transformer import Transformer

PRELOAD = ("torch",)
torch.set_num_threads(1)  # products this small lose more by waiting for threads, on a busy machine twentyfold
POSITIONS = Text("Positions projected in each layer", "每层投影的位置数")
CALLS = Text("Calls of `project` for each layer", "每层调用`project`的次数")
SCORED = Text("Positions given to `score`", "交给`score`的位置数")


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
    got = trial.call(
        "generate",
        embed=trial.callback(lent.embed),
        project=trial.callback(lent.project),
        finish=trial.callback(lent.finish),
        score=trial.callback(lent.score),
        n_layers=model.config.n_layers,
        prompt=prompt,
        n_new=n_new,
        chunk=chunk,
    )
    trial.expect(
        isinstance(got, tuple) and len(got) == 2 and isinstance(got[1], torch.Tensor),
        Text(
            "Return a tuple: the list of tokens, and the tensor of logits.", "应返回元组：词元的列表，以及logits张量。"
        ),
    )
    _check_logits(trial, lent, got[1], logits_NV)
    trial.expect_equal(got[0], expected, what=Text("Tokens", "词元"))
    _check_counts(trial, lent, prompt_length, n_new, chunk)


def _check_logits(trial: Trial, lent: "Lent", got, expected) -> None:
    if got.shape == expected.shape and not _close(got, expected):
        trial.picture(lent.picture())
    trial.expect_tensor(got, expected, rtol=1e-3, atol=1e-3, what=Text("Logits", "logits"))


def _close(got: torch.Tensor, expected: torch.Tensor) -> bool:
    return torch.allclose(got.float(), expected, rtol=1e-3, atol=1e-3)


def _check_counts(trial: Trial, lent: "Lent", prompt_length: int, n_new: int, chunk: int) -> None:
    positions, calls = prompt_length + n_new - 1, math.ceil(prompt_length / chunk) + n_new - 1
    hints = [
        Hint(
            sum(range(prompt_length, prompt_length + n_new)),
            Text(
                "The whole sequence passed through the model for every new token. The tokens are right, but the cache "
                "saves nothing: pass only the positions that are not in it.",
                "每写一个词元，整个序列都通过了一遍模型。词元是对的，但缓存什么也没有省下：只应送入缓存里还没有的位置。",
            ),
        ),
        Hint(
            positions + 1,
            Text(
                "One too many: the last token was passed through the model as well, though nobody asks what "
                "follows it.",
                "多了一个：最后一个词元也送进了模型，可没有人要它的下文。",
            ),
        ),
        Hint(
            positions + n_new - 1,
            Text(
                "Each new token was passed along with the token before it, which is in the cache already.",
                "每个新词元都和前一个词元一起送了进去，而前一个已经在缓存里。",
            ),
        ),
    ]
    for projected, called in zip(lent.projected, lent.calls, strict=True):
        trial.expect_equal(projected, positions, what=POSITIONS, hints=hints)
        one_by_one = Hint(
            positions,
            Text(
                "The prompt was read a token at a time. A pass takes up to `chunk` tokens of it at once.",
                "提示词是一个词元一个词元读的。一次可以读入至多`chunk`个。",
            ),
        )
        at_once = Hint(
            n_new,
            Text(
                "The prompt was read in one piece. A pass may take at most `chunk` tokens of it.",
                "提示词是一次读完的。一次至多可以读入`chunk`个词元。",
            ),
        )
        trial.expect_equal(called, calls, what=CALLS, hints=[one_by_one, at_once])
    everywhere = Hint(
        positions,
        Text(
            "You scored every position. Only the last one of the prompt and the new tokens need logits; the head is "
            "the largest matrix of many models.",
            "你给每个位置都求了分数。只有提示词的最后一个位置和新词元需要logits；在许多模型里，输出头是最大的矩阵。",
        ),
    )
    chunks = Hint(
        calls,
        Text(
            "You scored the last position of every chunk. Only that of the last chunk is asked for.",
            "你给每一块的最后一个位置都求了分数。只有最后一块的才用得上。",
        ),
    )
    trial.expect_equal(lent.scored, n_new, what=SCORED, hints=[everywhere, chunks])


def _model(trial: Trial) -> Transformer:
    """A small model whose weights are large enough for attention to decide the answer."""
    torch.manual_seed(trial.random.randrange(2**31))
    model = Transformer(replace(random_config(trial.random, width=32), vocab_size=trial.random.randint(40, 90)))
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data *= 10
    return model.eval()


@torch.inference_mode()
def _without_cache(model: Transformer, prompt: list[int], n_new: int) -> tuple[list[int], torch.Tensor]:
    """The reference: the whole sequence through the model for every new token."""
    tokens, logits = list(prompt), []
    for _ in range(n_new):
        logits.append(model(torch.tensor([tokens]))[0, -1].clone())
        tokens.append(int(logits[-1].argmax()))
    return tokens[len(prompt) :], torch.stack(logits)


class Lent:
    """The model's parts as the answer calls them, and how much it passed through them."""

    def __init__(self, model: Transformer) -> None:
        self.model = model
        self.projected = [0] * model.config.n_layers
        self.calls = [0] * model.config.n_layers
        self.scored = 0
        self.pieces: list[list[int]] = []  # tokens of each call of embed
        self.first_layer: list[torch.Tensor] = []  # what each call left layer 0 with

    @torch.inference_mode()
    def embed(self, tokens: list[int]) -> torch.Tensor:
        if type(tokens) is not list or not tokens or not all(type(token) is int for token in tokens):
            raise ValueError(f"embed takes a list of token ids, such as [3, 1, 4], not {tokens!r:.60}")
        if not 0 <= min(tokens) <= max(tokens) < self.model.config.vocab_size:
            raise ValueError(f"embed: token ids go from 0 to {self.model.config.vocab_size - 1}, not {tokens!r:.60}")
        self.pieces.append(tokens)
        return self.model.embed(torch.tensor(tokens)).clone()

    @torch.inference_mode()
    def project(self, layer: int, x_TD: torch.Tensor, start: int) -> tuple[torch.Tensor, ...]:
        config, block = self.model.config, self._block(layer)
        self._check_rows("project", x_TD)
        if type(start) is not int or not 0 <= start <= config.max_positions - len(x_TD):
            raise ValueError(f"project: start must be a position from 0 on, not {start!r:.60}")
        self.projected[layer] += len(x_TD)
        self.calls[layer] += 1
        return tuple(part.clone() for part in _project(self.model, block, x_TD, start))

    @torch.inference_mode()
    def finish(self, layer: int, x_TD: torch.Tensor, mixed_THK: torch.Tensor) -> torch.Tensor:
        config, block = self.model.config, self._block(layer)
        self._check_rows("finish", x_TD)
        shape = [len(x_TD), config.n_heads, config.head_dim]
        if not isinstance(mixed_THK, torch.Tensor) or list(mixed_THK.shape) != shape:
            found = list(mixed_THK.shape) if isinstance(mixed_THK, torch.Tensor) else type(mixed_THK).__name__
            raise ValueError(f"finish: mixed_THK must have shape [T, H, K] = {shape}, not {found}")
        y_TD = _finish(block, x_TD, mixed_THK).clone()
        if layer == 0:
            self.first_layer.append(y_TD)
        return y_TD

    @torch.inference_mode()
    def score(self, x_TD: torch.Tensor) -> torch.Tensor:
        self._check_rows("score", x_TD)
        self.scored += len(x_TD)
        return _score(self.model, x_TD).clone()

    @torch.inference_mode()
    def picture(self) -> Text:
        """A line for each pass, headed by its first position; a sign for each token: whether it left layer 0 right."""
        tokens = [token for piece in self.pieces for token in piece][: self.model.config.max_positions]
        x_BTD = self.model.embed(torch.tensor([tokens], dtype=torch.long))
        rotation, mask_TT = self.model.rope(0, len(tokens)), causal_mask(len(tokens), 0, like=x_BTD)
        expected_TD = self.model.blocks[0](x_BTD, rotation, mask_TT, None)[0]
        lines, start = [], 0
        for piece, y_TD in zip(self.pieces, self.first_layer, strict=False):
            rows = zip(y_TD, expected_TD[start : start + len(y_TD)], strict=False)
            signs = "".join("·" if _close(got, expected) else "█" for got, expected in rows)
            lines.append(f"{start:>4}  {signs}")
            start += len(piece)
        drawn = "\n".join(lines)
        return Text(
            f"tokens after layer 0, pass by pass: · right  █ wrong\n{drawn}",
            f"各次调用的词元经过第0层之后：·对  █错\n{drawn}",
        )

    def _block(self, layer: int):
        if type(layer) is not int or not 0 <= layer < len(self.calls):
            raise ValueError(f"layer must be from 0 to {len(self.calls) - 1}, not {layer!r:.60}")
        return self.model.blocks[layer]

    def _check_rows(self, name: str, x_TD: torch.Tensor) -> None:
        width = self.model.config.d_model
        if not isinstance(x_TD, torch.Tensor) or x_TD.dim() != 2 or x_TD.shape[1] != width or not len(x_TD):
            found = list(x_TD.shape) if isinstance(x_TD, torch.Tensor) else type(x_TD).__name__
            raise ValueError(f"{name}: x_TD must have shape [T, {width}], not {found}")


def _project(model: Transformer, block, x_TD: torch.Tensor, start: int) -> list[torch.Tensor]:
    attention, normed_TD = block.attention, block.attention_norm(x_TD)
    rotation = model.rope(start, len(x_TD))
    q, k, v = (
        layer(normed_TD).unflatten(-1, (-1, attention.head_dim)).transpose(0, 1)
        for layer in (attention.query, attention.key, attention.value)
    )
    return [rotate(q, rotation), rotate(k, rotation), v]


def _finish(block, x_TD: torch.Tensor, mixed_THK: torch.Tensor) -> torch.Tensor:
    x_TD = x_TD + block.attention.output(mixed_THK.flatten(1))
    return x_TD + block.mlp(block.mlp_norm(x_TD))


def _score(model: Transformer, x_TD: torch.Tensor) -> torch.Tensor:
    head = model.embed if model.config.tie_embeddings else model.head
    return torch.nn.functional.linear(model.norm(x_TD), head.weight)
