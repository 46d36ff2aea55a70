"""Window attention of both encoders, on flat tokens and through torch's fused attention.

A window holds side x side neighbouring tokens; shifted windows wrap around the image, and a mask keeps apart what is no
neighbour there. The fused kernel takes position bias and mask as one additive term, so no score matrix is kept.
"""

from torch import Tensor
from torch.nn import functional as F

from dgsct.ops.precision import at_least_float32, full_precision


def partition(x: Tensor, side: int, window: int, shift: int) -> Tensor:
    """Tokens [B, side * side, C] -> windows [B * W, window * window, C]; `side` is a multiple of `window`."""
    if window == side:
        return x
    grid = x.view(len(x), side, side, -1)
    if shift:
        grid = grid.roll((-shift, -shift), (1, 2))
    count = side // window
    grid = grid.view(len(x), count, window, count, window, -1).transpose(2, 3)
    return grid.reshape(-1, window * window, x.shape[-1])


def unpartition(windows: Tensor, side: int, window: int, shift: int) -> Tensor:
    """The inverse of `partition`."""
    if window == side:
        return windows
    count, dim = side // window, windows.shape[-1]
    grid = windows.view(-1, count, count, window, window, dim).transpose(2, 3).reshape(-1, side, side, dim)
    if shift:
        grid = grid.roll((shift, shift), (1, 2))
    return grid.view(-1, side * side, dim)


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """softmax(scale q k^T + bias + mask) v.

    `q`, `k`, `v` [B * W, h, n, d] (windows of one image next to each other), `bias` [h, n, n], `mask` [W, n, n] or None
    -> [B * W, n, h * d].
    """
    term = bias.unsqueeze(0)
    heads, length = bias.shape[:2]
    if mask is not None:
        # Windows join the heads, so that one term serves all images.
        term = (term + mask.unsqueeze(1)).reshape(1, -1, length, length)
        q, k, v = (t.reshape(-1, term.shape[1], length, t.shape[-1]) for t in (q, k, v))
    q, k, v = (for_kernel(t) for t in (q, k, v))
    with full_precision(q):
        term = term.to(q.dtype).expand(len(q), -1, -1, -1)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=term, scale=scale)
    return out.reshape(-1, heads, length, v.shape[-1]).transpose(1, 2).flatten(2)


def for_kernel(x: Tensor) -> Tensor:
    """`x` in the precision for fused attention: its own, but float32 on CPUs, where half precision makes the kernel's
    backward pass four times as slow."""
    return at_least_float32(x) if x.device.type == "cpu" else x


def gather_bias(table: Tensor, index: Tensor) -> Tensor:
    """Table of relative positions [R, h], index [n, n] -> bias [h, n, n]; contiguous, or the fused kernel would copy it."""
    return table.t()[:, index.flatten()].unflatten(1, index.shape)
