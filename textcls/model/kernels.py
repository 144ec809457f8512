# mypy: disable-error-code="no-untyped-def, untyped-decorator"
"""The kernels of a training step on a GPU, in Triton.

They read a batch where :class:`~textcls.data.resident.Resident` has laid it out: the bags through
the epoch's order, and the batch turned around, token by token. Which step of those laid out it is
stands on the device, in ``counter``, so that a step captured in a CUDA graph can be replayed for
each batch. How many tokens and rows a step has is read on the device as well: nothing waits for the
host, and every grid has a size of its own, whatever the batch holds.

Numbers add up in float32, in an order that depends on nothing but the batch: no atomics. All of it
can be run without a GPU in Triton's interpreter (``TRITON_INTERPRET=1``), which the tests do.
See https://triton-lang.org/main/python-api/triton.language.html.

The gradient of a table takes three kernels, because some tokens stand in nearly every bag and most
in one: ``credit`` cuts the step's entries, sorted by token, into tiles of equal size, and sums each
row's part of a tile; ``join`` sums the parts of the rows that reach over several tiles; ``settle``
puts the rows' gradients where the optimizer reads them.
"""

from __future__ import annotations

import triton
import triton.language as tl

# Entries of a transposed batch that one program sums at a time.
TILE = 64
# Columns of a table that one program holds at a time.
MAX_COLUMNS = 64
# Numbers of a table that one program holds at a time, where it holds whole rows.
ELEMENTS = 1024
# Parts of one row that are added at a time.
JOINED = 64


@triton.jit
def probe_kernel(out):
    """Write a one: where this works, so do the others."""
    tl.store(out, 1)


@triton.jit
def pool_kernel(
    table, weighing, indices, starts, lengths, counter, pooled, chosen, scales,
    batch_size, padding,
    dim: tl.constexpr, WEIGHT_SCALE: tl.constexpr,
    MEAN: tl.constexpr, SUM: tl.constexpr, MAX: tl.constexpr,
    WEIGHTED: tl.constexpr, TOKENS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Pool one bag: of the table's rows that it names, the mean, the sum, the largest."""
    bag = tl.program_id(0)
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    inside = columns < dim
    slot = tl.load(counter) * batch_size + bag
    start = tl.load(starts + slot).to(tl.int64)
    length = tl.load(lengths + slot)

    total = tl.zeros([COLUMNS], tl.float32)
    best = tl.full([COLUMNS], float("-inf"), tl.float32)
    best_token = tl.full([COLUMNS], -1, tl.int32)
    pooled_tokens = 0
    for begin in range(0, length, TOKENS):
        places = begin + tl.arange(0, TOKENS)
        tokens = tl.load(indices + start + places, mask=places < length, other=0)
        counts = (places < length) & (tokens != padding)
        vectors = tl.load(
            table + tokens[:, None].to(tl.int64) * dim + columns[None, :],
            mask=counts[:, None] & inside[None, :],
            other=0,
        ).to(tl.float32)
        if WEIGHTED:
            vectors *= 1 + WEIGHT_SCALE * tl.load(weighing + tokens).to(tl.float32)[:, None]
        if MEAN or SUM:
            total += tl.sum(vectors, 0)
            pooled_tokens += tl.sum(counts.to(tl.int32), 0)
        if MAX:
            # Of equals the first token counts, as with torch.
            candidates = tl.where(counts[:, None], vectors, float("-inf"))
            largest = tl.max(candidates, 0)
            is_largest = counts[:, None] & (candidates == largest[None, :])
            place = tl.min(tl.where(is_largest, places[:, None], length), 0)
            token = tl.load(indices + start + place, mask=place < length, other=-1)
            best_token = tl.where(largest > best, token, best_token)
            best = tl.maximum(best, largest)

    # Side by side in the order of the mode's name: mean, sum, max.
    width = dim * (MEAN + SUM + MAX)
    out = pooled + bag.to(tl.int64) * width + columns
    scale = 1.0 / tl.maximum(pooled_tokens, 1)
    if MEAN:
        tl.store(scales + bag, scale)
        tl.store(out, total * scale, mask=inside)
        out += dim
    if SUM:
        tl.store(out, total, mask=inside)
        out += dim
    if MAX:
        tl.store(out, tl.where(best_token >= 0, best, 0.0), mask=inside)
        tl.store(chosen + bag.to(tl.int64) * dim + columns, best_token, mask=inside)


@triton.jit
def _joined(sum_a, begins_a, sum_b, begins_b):
    """Add up two neighbouring stretches, unless a row begins in the second."""
    return tl.where(begins_b != 0, sum_b, sum_a + sum_b), begins_a | begins_b


@triton.jit
def credit_kernel(
    grad, grad_of_max, chosen, bags, rows, row_tokens, step_entries, step_rows, counter, parts,
    dim: tl.constexpr, SUM: tl.constexpr, MAX: tl.constexpr,
    TILE: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Sum, over each tile of entries, the gradients of the bags of each row in it.

    The part of a row in a tile goes to ``parts[row's number + tile's number]``: both count from
    0 in the step, and one of them grows from each part to the next.
    """
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    inside = columns < dim
    step = tl.load(counter)
    first, last = tl.load(step_entries + step), tl.load(step_entries + step + 1)
    first_row = tl.load(step_rows + step)
    places = tl.arange(0, TILE)
    for tile in range(tl.program_id(0), tl.cdiv(last - first, TILE), tl.num_programs(0)):
        entries = first + tile * TILE + places
        valid = entries < last
        bag = tl.load(bags + entries, mask=valid, other=0).to(tl.int64)
        row = tl.load(rows + entries, mask=valid, other=-1)
        row_before = tl.load(rows + entries - 1, mask=valid & (entries > first), other=-1)
        row_after = tl.load(rows + entries + 1, mask=entries + 1 < last, other=-1)
        at = bag[:, None] * dim + columns[None, :]
        known = valid[:, None] & inside[None, :]
        values = tl.zeros([TILE, COLUMNS], tl.float32)
        if SUM:
            values += tl.load(grad + at, mask=known, other=0)
        if MAX:
            # A bag credits a token once, however often the token stands in it.
            bag_before = tl.load(bags + entries - 1, mask=valid & (entries > first), other=-1)
            is_new = (row != row_before) | (bag != bag_before)
            token = tl.load(row_tokens + row, mask=valid, other=-1)
            wins = tl.load(chosen + at, mask=known, other=-2) == token[:, None]
            values += tl.load(grad_of_max + at, mask=known & wins & is_new[:, None], other=0)
        begins = tl.broadcast_to((row != row_before).to(tl.int32)[:, None], (TILE, COLUMNS))
        summed, _ = tl.associative_scan((values, begins), 0, _joined)
        ends = valid & ((row != row_after) | (places == TILE - 1))
        part = (row - first_row + tile).to(tl.int64)
        tl.store(
            parts + part[:, None] * dim + columns[None, :],
            summed,
            mask=ends[:, None] & inside[None, :],
        )


@triton.jit
def join_kernel(
    rows, row_starts, step_entries, step_rows, counter, parts,
    dim: tl.constexpr, TILE: tl.constexpr, JOINED: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Sum the parts of each row that reaches over several tiles, into the first of them.

    A program looks at the places where a tile ends: the first of these that a row reaches over
    is where that row is dealt with.
    """
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    inside = columns < dim
    step = tl.load(counter)
    first, last = tl.load(step_entries + step), tl.load(step_entries + step + 1)
    first_row = tl.load(step_rows + step)
    for tile in range(1 + tl.program_id(0), tl.cdiv(last - first, TILE), tl.num_programs(0)):
        row = tl.load(rows + first + tile * TILE)
        row_before = tl.load(rows + first + tile * TILE - 1)
        begin, end = tl.load(row_starts + row) - first, tl.load(row_starts + row + 1) - first
        if (row == row_before) & (begin >= (tile - 1) * TILE):
            last_tile = (end - 1) // TILE
            mine = parts + (row - first_row).to(tl.int64) * dim + columns
            total = tl.load(mine + (tile - 1) * dim, mask=inside, other=0)
            for begin_tile in range(tile, last_tile + 1, JOINED):
                tiles = begin_tile + tl.arange(0, JOINED)
                more = tl.load(
                    mine[None, :] + tiles[:, None] * dim,
                    mask=(tiles <= last_tile)[:, None] & inside[None, :],
                    other=0,
                )
                total += tl.sum(more, 0)
            tl.store(mine + (tile - 1) * dim, total, mask=inside)


@triton.jit
def settle_kernel(
    parts, table, weighing, row_tokens, row_starts, step_entries, step_rows, counter,
    grad_table, grad_weighing, squares, padding,
    dim: tl.constexpr, WEIGHT_SCALE: tl.constexpr, DENSE: tl.constexpr, WEIGHTED: tl.constexpr,
    TILE: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Put each row's gradient at its number in the step, or (``DENSE``) at its token id.

    With token weights, a row's sum G over its bags becomes w * G for the row itself and the dot
    product of the row and G for its weight. Each program leaves the sum of the squares of what it
    put there, for the gradient's norm.
    """
    total = tl.zeros([ROWS], tl.float32)
    step = tl.load(counter)
    first = tl.load(step_entries + step)
    first_row, last_row = tl.load(step_rows + step), tl.load(step_rows + step + 1)
    num_rows = last_row - first_row
    for block in range(tl.program_id(0), tl.cdiv(num_rows, ROWS), tl.num_programs(0)):
        row = block * ROWS + tl.arange(0, ROWS)
        valid = row < num_rows
        token = tl.load(row_tokens + first_row + row, mask=valid, other=0).to(tl.int64)
        begin = tl.load(row_starts + first_row + row, mask=valid, other=0) - first
        source = (row + begin // TILE).to(tl.int64) * dim
        target = token if DENSE else row.to(tl.int64)
        learns = valid & (token != padding)
        if WEIGHTED:
            weight = 1 + WEIGHT_SCALE * tl.load(weighing + token, mask=valid, other=0)
            dot = tl.zeros([ROWS], tl.float32)
        for left in range(0, dim, COLUMNS):
            columns = left + tl.arange(0, COLUMNS)
            known = valid[:, None] & (columns < dim)[None, :]
            values = tl.load(
                parts + source[:, None] + columns[None, :], mask=known & learns[:, None], other=0
            )
            if WEIGHTED:
                own = tl.load(
                    table + token[:, None] * dim + columns[None, :], mask=known, other=0
                ).to(tl.float32)
                dot += tl.sum(own * values, 1)
                values *= weight[:, None]
            tl.store(grad_table + target[:, None] * dim + columns[None, :], values, mask=known)
            total += tl.sum(values * values, 1)
        if WEIGHTED:
            dot *= WEIGHT_SCALE
            tl.store(grad_weighing + target, dot, mask=valid)
            total += dot * dot
    tl.store(squares + tl.program_id(0), tl.sum(total, 0))


@triton.jit
def update_kernel(
    table, grad, memory, second_memory, row_tokens, step_rows, counter, rates, clip,
    num_rows, weight_decay, momentum, beta1, beta2,
    dim: tl.constexpr, RULE: tl.constexpr, REMEMBERS: tl.constexpr, TOUCHED: tl.constexpr,
    CLIPPED: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Update all rows of a table, or (``TOUCHED``) those of the step, by torch's rules.

    See torch.optim's SGD, Adagrad, Adam and AdamW. ``rates`` has three numbers by step of the
    training: the learning rate, and for Adam that rate and the second mean's root corrected for
    their bias towards zero.
    """
    rate_at = rates + tl.load(counter + 1) * 3
    lr, corrected_lr, correction = tl.load(rate_at), tl.load(rate_at + 1), tl.load(rate_at + 2)
    first_row = 0
    if TOUCHED:
        step = tl.load(counter)
        first_row = tl.load(step_rows + step)
        num_rows = tl.load(step_rows + step + 1) - first_row
    for block in range(tl.program_id(0), tl.cdiv(num_rows, ROWS), tl.num_programs(0)):
        row = block * ROWS + tl.arange(0, ROWS)
        valid = row < num_rows
        source = row.to(tl.int64) * dim
        target = source
        if TOUCHED:
            token = tl.load(row_tokens + first_row + row, mask=valid, other=0)
            target = token.to(tl.int64) * dim
        for left in range(0, dim, COLUMNS):
            columns = left + tl.arange(0, COLUMNS)
            known = valid[:, None] & (columns < dim)[None, :]
            at = target[:, None] + columns[None, :]
            g = tl.load(grad + source[:, None] + columns[None, :], mask=known, other=0)
            w = tl.load(table + at, mask=known, other=0).to(tl.float32)
            if CLIPPED:
                g *= tl.load(clip)
            if RULE == "adamw":
                w *= 1 - lr * weight_decay
            else:
                g += weight_decay * w
            if RULE == "sgd":
                if REMEMBERS:
                    g += momentum * tl.load(memory + at, mask=known, other=0)
                    tl.store(memory + at, g, mask=known)
                w -= lr * g
            elif RULE == "adagrad":
                squares = tl.load(memory + at, mask=known, other=0) + g * g
                tl.store(memory + at, squares, mask=known)
                w -= lr * g / (tl.sqrt_rn(squares) + 1e-10)
            else:
                mean = tl.load(memory + at, mask=known, other=0)
                mean += (1 - beta1) * (g - mean)
                square = tl.load(second_memory + at, mask=known, other=0)
                square += (1 - beta2) * (g * g - square)
                tl.store(memory + at, mean, mask=known)
                tl.store(second_memory + at, square, mask=known)
                w -= corrected_lr * mean / (tl.sqrt_rn(square) * correction + 1e-8)
            tl.store(table + at, w, mask=known)


def columns_of(dim: int) -> int:
    """Return how many columns of a table a program holds at a time."""
    return min(MAX_COLUMNS, int(triton.next_power_of_2(dim)))


def rows_of(dim: int) -> int:
    """Return how many rows of a table a program holds at a time."""
    return ELEMENTS // columns_of(dim)
