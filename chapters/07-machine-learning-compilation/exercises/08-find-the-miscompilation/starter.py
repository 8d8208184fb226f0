"""Which of eight hand-made schedules are wrong, and inputs that prove it."""


def verdicts() -> dict[str, str]:
    """Return for each name in BEFORE "sound", or the rule that AFTER breaks: "order", "domain" or "init"."""
    raise NotImplementedError


def witness(name: str, rows: int, columns: int, row: int) -> list[list[float]]:
    """Return an input X on which a wrong program shows.

    Args:
        name: of one of the three wrong programs.
        rows, columns: of X; columns is more than 4 and no multiple of 4.
        row: the one in which the results of BEFORE and AFTER are to differ, in
            at least one element; in all other rows they are to be equal.

    Returns:
        `rows` lists of `columns` numbers, multiples of 1/8 from -8 to 8.
    """
    raise NotImplementedError


BEFORE = {
    "split": """
def row_max(R: size, C: size, X: float32[R, C], M: float32[R]):
    for i in range(R):
        for j in range(C):
            with block("M"):
                vi = spatial(R, i)
                vj = reduce(C, j)
                M[vi] = init(float32('-inf'))
                M[vi] = combine(max, X[vi, vj])
""",
    "overlap_copy": """
def double(R: size, C: size, X: float32[R, C], Y: float32[R, C]):
    for i in range(R):
        for j in range(C):
            with block("Y"):
                vi = spatial(R, i)
                vj = spatial(C, j)
                Y[vi, vj] = X[vi, vj] * float32(2.0)
""",
    "stage_next": """
def smooth(R: size, C: size, X: float32[R, C], E: float32[R, C], Y: float32[R, C]):
    for i in range(R):
        for j in range(C):
            with block("E"):
                vi = spatial(R, i)
                vj = spatial(C, j)
                E[vi, vj] = X[vi, vj] * float32(2.0)
        for j in range(C):
            with block("Y"):
                vi = spatial(R, i)
                vj = spatial(C, j)
                Y[vi, vj] = E[vi, vj] + E[vi, min(vj + 1, C - 1)]
""",
    "lanes_sum": """
def row_sum(R: size, C: size, X: float32[R, C], S: float32[R]):
    for i in range(R):
        for j in range(C):
            with block("S"):
                vi = spatial(R, i)
                vj = reduce(C, j)
                S[vi] = init(float32(0.0))
                S[vi] += X[vi, vj]
""",
    "interchange": """
def prefix(R: size, C: size, X: float32[R, C], P: float32[R, C]):
    for i in range(R):
        for j in range(C):
            with block("P"):
                vi = spatial(R, i)
                vj = spatial(C, j)
                P[vi, vj] = P[max(vi - 1, 0), vj] + X[vi, vj]
""",
    "lanes_max": """
def row_max(R: size, C: size, X: float32[R, C], M: float32[R]):
    for i in range(R):
        for j in range(C):
            with block("M"):
                vi = spatial(R, i)
                vj = reduce(C, j)
                M[vi] = init(float32('-inf'))
                M[vi] = combine(max, X[vi, vj])
""",
    "stage_previous": """
def smooth(R: size, C: size, X: float32[R, C], E: float32[R, C], Y: float32[R, C]):
    for i in range(R):
        for j in range(C):
            with block("E"):
                vi = spatial(R, i)
                vj = spatial(C, j)
                E[vi, vj] = X[vi, vj] * float32(2.0)
        for j in range(C):
            with block("Y"):
                vi = spatial(R, i)
                vj = spatial(C, j)
                Y[vi, vj] = E[vi, vj] + E[vi, max(vj - 1, 0)]
""",
    "overlap_sum": """
def row_sum(R: size, C: size, X: float32[R, C], S: float32[R]):
    for i in range(R):
        for j in range(C):
            with block("S"):
                vi = spatial(R, i)
                vj = reduce(C, j)
                S[vi] = init(float32(0.0))
                S[vi] += X[vi, vj]
""",
}

AFTER = {
    "split": """
def row_max(R: size, C: size, X: float32[R, C], M: float32[R]):
    for i in parallel(R):
        for j_0 in range((C + 3) // 4):
            for j_1 in range(4):
                with block("M"):
                    vi = spatial(R, i)
                    vj = reduce(C, j_0 * 4 + j_1)
                    where(j_0 * 4 + j_1 < C)
                    M[vi] = init(float32('-inf'))
                    M[vi] = combine(max, X[vi, vj])
""",
    "overlap_copy": """
def double(R: size, C: size, X: float32[R, C], Y: float32[R, C]):
    for i in parallel(R):
        for j_0 in range((C + 3) // 4):
            for j_1 in vectorized(4):
                with block("Y"):
                    vi = spatial(R, i)
                    vj = spatial(C, min(j_0 * 4, C - 4) + j_1)
                    Y[vi, vj] = X[vi, vj] * float32(2.0)
""",
    "stage_next": """
def smooth(R: size, C: size, X: float32[R, C], E: float32[R, C], Y: float32[R, C]):
    for i in parallel(R):
        for j_0 in range((C + 3) // 4):
            for j_1 in vectorized(4):
                with block("E"):
                    vi = spatial(R, i)
                    vj = spatial(C, j_0 * 4 + j_1)
                    where(j_0 * 4 + j_1 < C)
                    E[vi, vj] = X[vi, vj] * float32(2.0)
            for j_1 in vectorized(4):
                with block("Y"):
                    vi = spatial(R, i)
                    vj = spatial(C, j_0 * 4 + j_1)
                    where(j_0 * 4 + j_1 < C)
                    Y[vi, vj] = E[vi, vj] + E[vi, min(vj + 1, C - 1)]
""",
    "lanes_sum": """
def row_sum(R: size, C: size, X: float32[R, C], S: float32[R]):
    for i in parallel(R):
        with allocate(float32[4], "local") as L:
            for l in vectorized(4):
                with block("L_init"):
                    vl = spatial(4, l)
                    L[vl] = float32(0.0)
            for j in range((C + 3) // 4):
                for l in vectorized(4):
                    with block("L"):
                        vl = spatial(4, l)
                        vj = reduce((C + 3) // 4, j)
                        where(j * 4 + l < C)
                        L[vl] += X[i, vj * 4 + vl]
            for l in range(4):
                with block("S"):
                    vi = spatial(R, i)
                    vl = reduce(4, l)
                    S[vi] = init(float32(0.0))
                    S[vi] += L[vl]
""",
    "interchange": """
def prefix(R: size, C: size, X: float32[R, C], P: float32[R, C]):
    for j in parallel(C):
        for i in range(R):
            with block("P"):
                vi = spatial(R, i)
                vj = spatial(C, j)
                P[vi, vj] = P[max(vi - 1, 0), vj] + X[vi, vj]
""",
    "lanes_max": """
def row_max(R: size, C: size, X: float32[R, C], M: float32[R]):
    for i in parallel(R):
        with allocate(float32[4], "local") as L:
            for l in vectorized(4):
                with block("L_init"):
                    vl = spatial(4, l)
                    L[vl] = float32(0.0)
            for j in range((C + 3) // 4):
                for l in vectorized(4):
                    with block("L"):
                        vl = spatial(4, l)
                        vj = reduce((C + 3) // 4, j)
                        where(j * 4 + l < C)
                        L[vl] = combine(max, X[i, vj * 4 + vl])
            for l in range(4):
                with block("M"):
                    vi = spatial(R, i)
                    vl = reduce(4, l)
                    M[vi] = init(float32('-inf'))
                    M[vi] = combine(max, L[vl])
""",
    "stage_previous": """
def smooth(R: size, C: size, X: float32[R, C], E: float32[R, C], Y: float32[R, C]):
    for i in parallel(R):
        for j_0 in range((C + 3) // 4):
            for j_1 in vectorized(4):
                with block("E"):
                    vi = spatial(R, i)
                    vj = spatial(C, j_0 * 4 + j_1)
                    where(j_0 * 4 + j_1 < C)
                    E[vi, vj] = X[vi, vj] * float32(2.0)
            for j_1 in vectorized(4):
                with block("Y"):
                    vi = spatial(R, i)
                    vj = spatial(C, j_0 * 4 + j_1)
                    where(j_0 * 4 + j_1 < C)
                    Y[vi, vj] = E[vi, vj] + E[vi, max(vj - 1, 0)]
""",
    "overlap_sum": """
def row_sum(R: size, C: size, X: float32[R, C], S: float32[R]):
    for i in parallel(R):
        for j_0 in range((C + 3) // 4):
            for j_1 in range(4):
                with block("S"):
                    vi = spatial(R, i)
                    vj = reduce(C, min(j_0 * 4, C - 4) + j_1)
                    S[vi] = init(float32(0.0))
                    S[vi] += X[vi, vj]
""",
}
