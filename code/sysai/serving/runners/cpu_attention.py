"""Attention over paged memory on the CPU: one function in C for all sequences of a step, prompts and decodes alike.

A block holds the keys of a head with the positions innermost, [K, O], and its values with the head size innermost,
[O, K]. Then vectors lie along positions in q k^T and along the head's elements in p v, and nothing is ever summed
across lanes but once a block, for the softmax:

    s[0:O]  = sum over k of  q[k] * keys[k, 0:O]             2 K O FLOPs a query and block
    m'      = max(m, max s);   p = exp(s - m');   l = l * exp(m - m') + sum p          (online softmax)
    a[0:K]  = a * exp(m - m') + sum over o of p[o] * values[o, 0:K]

The queries that share a key-value head are computed together, those of a few neighbouring positions as well: a block
comes from memory once for all of them. Before that, each token's query and key are turned to its position, and key
and value put into their slot. Work is shared out by (tile of positions, key-value head), whoever is free takes the
next. Loops end where a sequence ends, which is data: a loop nest of the compiler can't say that, and so this is
written by hand, on the compiler's vectors.

Milakov, Gimelshein, arXiv 1805.02867 (online softmax); Kwon et al., PagedAttention, arXiv 2309.06180, section 5.1.
Production splits long sequences over cores too (flash-decoding), and has keys and values in 16 or 8 bits.

Shapes: T tokens of a step, H query heads, N key-value heads, K head size, P blocks of O positions, G blocks of the
longest sequence, B sequences, W tiles.
"""

import math
from pathlib import Path
from string import Template

from sysai.compiler import cpu
from sysai.compiler.codegen.toolchain import compile_c
from sysai.compiler.codegen.vector_header import HEADER_NAME, vector_header
from sysai.models.config import ModelConfig

TILE = 4  # positions of a prompt that share the reading of a block
_AT_ONCE = 4  # queries whose scores stand in registers

_SOURCE = Template("""\
#include "$header"

enum { BLOCK = $block, SIZE = $size, GROUP = $group, HEADS = $heads, TILE = $tile, AT_ONCE = $at_once };
enum { ROTATES = $rotates };
typedef f32x$along_block vb; /* along the positions of a block */
typedef f32x$along_head vh; /* along a head's elements */
enum { VB = BLOCK / $along_block, VH = SIZE / $along_head };

static inline void rotate(float *x, const float *cosine, const float *sine) {
    for (int i = 0; i < SIZE / 2; i++) {
        float a = x[i], b = x[i + SIZE / 2];
        x[i] = a * cosine[i] - b * sine[i];
        x[i + SIZE / 2] = b * cosine[i] + a * sine[i];
    }
}

/* Scores of `count` queries, a constant, with all positions of a block. */
static inline __attribute__((always_inline)) void score(
    const int count, const float (*q)[SIZE], const float *keys, float (*s)[BLOCK]) {
    vb sums[AT_ONCE][VB];
    for (int m = 0; m < count; m++)
        for (int i = 0; i < VB; i++) sums[m][i] = splat_f32x$along_block(0);
    for (int k = 0; k < SIZE; k++)
        for (int i = 0; i < VB; i++) {
            vb key = load_f32x$along_block(keys + k * BLOCK + i * $along_block);
            for (int m = 0; m < count; m++) sums[m][i] += q[m][k] * key;
        }
    for (int m = 0; m < count; m++)
        for (int i = 0; i < VB; i++) store_f32x$along_block(s[m] + i * $along_block, sums[m][i]);
}

/* A tile: `rows` queries of each head of a group, at positions `first`, first + 1, ... of a sequence. */
static void attend(
    const float *q, float *out, const float *keys, const float *values, const int32_t *table, int head, int64_t first,
    int rows) {
    float queries[TILE * GROUP][SIZE], s[TILE * GROUP][BLOCK], most[TILE * GROUP], total[TILE * GROUP];
    vh sums[TILE * GROUP][VH];
    int count = rows * GROUP;
    for (int m = 0; m < count; m++) {
        for (int k = 0; k < SIZE; k++) queries[m][k] = q[(m / GROUP * HEADS * GROUP + m % GROUP) * SIZE + k] * $scale;
        for (int i = 0; i < VH; i++) sums[m][i] = splat_f32x$along_head(0);
        most[m] = -INFINITY;
        total[m] = 0;
    }
    for (int64_t start = 0; start < first + rows; start += BLOCK) {
        int64_t at = ((int64_t)table[start / BLOCK] * HEADS + head) * SIZE * BLOCK; /* where the head's block begins */
        const float *k = keys + at, *v = values + at;
        int m = 0;
        for (; m + AT_ONCE <= count; m += AT_ONCE) score(AT_ONCE, queries + m, k, s + m);
        for (; m < count; m++) score(1, queries + m, k, s + m);
        for (m = 0; m < count; m++) {
            int64_t seen = first + m / GROUP + 1 - start; /* positions of this block that the query may look at */
            if (seen <= 0) continue;
            if (seen > BLOCK) seen = BLOCK;
            float largest = most[m];
            for (int o = seen; o < BLOCK; o++) s[m][o] = -INFINITY;
            for (int o = 0; o < BLOCK; o++) largest = s[m][o] > largest ? s[m][o] : largest;
            vh acc[VH];
            for (int i = 0; i < VH; i++) acc[i] = sums[m][i];
            if (largest > most[m]) {
                float fade = most[m] == -INFINITY ? 0 : exp_f32(most[m] - largest);
                most[m] = largest;
                total[m] *= fade;
                for (int i = 0; i < VH; i++) acc[i] *= fade;
            }
            vb added = splat_f32x$along_block(0);
            for (int i = 0; i < VB; i++) {
                vb p = exp_f32x$along_block(load_f32x$along_block(s[m] + i * $along_block) - largest);
                store_f32x$along_block(s[m] + i * $along_block, p);
                added += p;
            }
            for (int i = 0; i < $along_block; i++) total[m] += added[i];
            for (int o = 0; o < seen; o++)
                for (int i = 0; i < VH; i++) acc[i] += s[m][o] * load_f32x$along_head(v + o * SIZE + i * $along_head);
            for (int i = 0; i < VH; i++) sums[m][i] = acc[i];
        }
    }
    for (int m = 0; m < count; m++)
        for (int i = 0; i < VH; i++)
            store_f32x$along_head(
                out + (m / GROUP * HEADS * GROUP + m % GROUP) * SIZE + i * $along_head, sums[m][i] * (1 / total[m]));
}

int $name(
    float *q, float *k, float *v, const float *cosine, const float *sine, const int32_t *positions,
    const int32_t *slots, float *keys, float *values, const int32_t *tables, const int32_t *tiles, float *out,
    int64_t tokens, int64_t width, int64_t count, int threads) {
    #pragma omp parallel num_threads(threads)
    {
        #pragma omp for schedule(static)
        for (int64_t t = 0; t < tokens; t++) {
            const float *cosines = cosine + positions[t] * (SIZE / 2), *sines = sine + positions[t] * (SIZE / 2);
            int64_t block = slots[t] / BLOCK, offset = slots[t] % BLOCK;
            if (ROTATES)
                for (int h = 0; h < HEADS * GROUP; h++) rotate(q + (t * HEADS * GROUP + h) * SIZE, cosines, sines);
            for (int n = 0; n < HEADS; n++) {
                float *key = k + (t * HEADS + n) * SIZE, *value = v + (t * HEADS + n) * SIZE;
                int64_t at = (block * HEADS + n) * SIZE * BLOCK;
                if (ROTATES) rotate(key, cosines, sines);
                for (int i = 0; i < SIZE; i++) keys[at + i * BLOCK + offset] = key[i];
                for (int i = 0; i < SIZE; i++) values[at + offset * SIZE + i] = value[i];
            }
        }
        #pragma omp for schedule(dynamic)
        for (int64_t item = 0; item < count * HEADS; item++) {
            const int32_t *tile = tiles + item / HEADS * 4; /* row of the step, rows, sequence, position */
            int head = item % HEADS;
            int64_t row = ((int64_t)tile[0] * HEADS + head) * GROUP * SIZE;
            attend(q + row, out + row, keys, values, tables + tile[2] * width, head, tile[3], tile[1]);
        }
    }
    return 0;
}
""")


class PagedAttention:
    """The compiled function, for a model's heads and a size of blocks.

    Its operands, in order: q [T, H, K], k and v [T, N, K] (q and k are turned in place), cosines and sines [., K / 2]
    of all positions, positions [T] and slots [T] of the tokens, keys [P, N, K, O] and values [P, N, O, K] of a layer,
    block tables [B, G], tiles [W, 4], out [T, H, K]; sizes T, G and W; int32 whatever counts, float32 the rest. A tile
    is (its first row among the T, its rows, at most TILE, its sequence among the B, its first position).

    Raises:
        ValueError: a block or head size that vectors can't go along.
        ToolchainError: there is no C compiler, or it fails.
    """

    name = "paged_attention"

    def __init__(self, config: ModelConfig, block_size: int) -> None:
        if block_size % 4 or config.head_dim % 4:
            raise ValueError(
                f"blocks of {block_size} positions and heads of {config.head_dim} elements must be multiples of 4 "
                f"for vectors: choose a block_size of 16, or the torch runner"
            )
        width = cpu.vector_bytes()
        source = _SOURCE.substitute(
            header=HEADER_NAME,
            name=self.name,
            block=block_size,
            size=config.head_dim,
            group=config.n_heads // config.n_kv_heads,
            heads=config.n_kv_heads,
            tile=TILE,
            at_once=_AT_ONCE,
            rotates=int(config.positions != "learned"),
            scale=f"{config.head_dim**-0.5!r}f",
            along_block=math.gcd(block_size, width // 4),
            along_head=math.gcd(config.head_dim, width // 4),
        )
        self.library: Path = compile_c(source, {HEADER_NAME: vector_header(width)}, ("-ffp-contract=fast",))
