"""NNGP and NTK of a case in NumPy float64, written independently of both programs: closed forms for ReLU, a
120 × 120 Gauss-Hermite rule for tanh and GELU, all pairs of positions for convolutions.

A state is (K, T), both (n, n) for vectors and (n, n, H, W, H, W) for images: K the second moments of the layer,
T the tangent kernel so far. For weights of variance σ²/fan_in and biases of variance β²,
K' = σ² mean(K) + β² and T' = K' + σ² mean(T); for a nonlinearity φ, K' = E[φφ'] and T' = T E[φ̇φ̇'].
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
from cases import AveragePool, Case, Conv, Dense, Flatten, GlobalAveragePool, Pointwise, Repeat, inputs

FOLDER = Path(__file__).parent / ".reference"


def kernels(case: Case, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(nngp, ntk), each (n, n) float64, of the inputs x (n, *input_shape)."""
    x = x.astype(np.float64)
    state = _image_moments(x) if case.is_image else x @ x.T / x.shape[-1]
    return _walk(case.layers, (state, np.zeros_like(state)))


def kept_kernels(case: Case, count: int) -> tuple[np.ndarray, np.ndarray]:
    """`kernels` of the case's first `count` inputs, from disk where they were computed before."""
    text = repr((case.layers, case.input_shape, count)).encode()
    path = FOLDER / f"{case.name}-{hashlib.sha256(text).hexdigest()[:12]}.npz"
    if not path.exists():
        nngp, ntk = kernels(case, inputs(case, count))
        FOLDER.mkdir(exist_ok=True)
        np.savez(path, nngp=nngp, ntk=ntk)
    with np.load(path) as found:
        return found["nngp"], found["ntk"]


def _image_moments(x):
    return np.einsum("ihwc,jklc->ijhwkl", x, x, optimize=True) / x.shape[-1]


def _walk(layers, state):
    for layer in layers:
        state = RULES[type(layer)](layer, *state)
    return state


def _weights(layer, mean_k, mean_t):
    k = layer.weight_std**2 * mean_k + layer.bias_std**2
    return k, k + layer.weight_std**2 * mean_t


def _conv(layer, k, t):
    return _weights(layer, _window_mean(k, layer.taps), _window_mean(t, layer.taps))


def _window_mean(k, taps: int):
    """Mean over the shifts that a tap applies to both positions at once, zero outside the image."""
    half, (height, width) = taps // 2, k.shape[2:4]
    padded = np.pad(k, [(0, 0)] * 2 + [(half, half)] * 4)
    shifts = [(a, b) for a in range(taps) for b in range(taps)]
    windows = (padded[:, :, a : a + height, b : b + width, a : a + height, b : b + width] for a, b in shifts)
    return sum(windows) / taps**2


def _pooled(k, size: int):
    n, _, height, width = k.shape[:4]
    split = (height // size, size, width // size, size)
    return k.reshape(n, n, *split, *split).mean(axis=(3, 5, 7, 9))


def _equal_positions(k):
    return np.einsum("ijhwhw->ij", k) / math.prod(k.shape[2:4])


def _variances(k):
    """The second moments of each input with itself, as they stand beside K on its first and on its second side."""
    if k.ndim == 2:
        q = np.diagonal(k)
        return q[:, None], q[None, :]
    q = np.einsum("iihwhw->ihw", k)
    return q[:, None, :, :, None, None], q[None, :, None, None, :, :]


def _relu(k, first, second):
    """Cho and Saul 2009: E[φφ'] and E[φ̇φ̇'] by the angle between the two Gaussians."""
    norm = np.sqrt(first * second)
    angle = np.arccos(np.clip(k / norm, -1, 1))
    return norm * (np.sin(angle) + (math.pi - angle) * np.cos(angle)) / (2 * math.pi), (math.pi - angle) / (2 * math.pi)


def _tanh(u):
    return np.tanh(u), 1 - np.tanh(u) ** 2


def _gelu(u):
    cumulative = 0.5 * (1 + np.vectorize(math.erf)(u / math.sqrt(2)))
    return u * cumulative, cumulative + u * np.exp(-(u**2) / 2) / math.sqrt(2 * math.pi)


def _quadrature(function, k, first, second, *, nodes: int = 120):
    z, weight = np.polynomial.hermite_e.hermegauss(nodes)
    weight = weight / weight.sum()
    first, second = np.broadcast_to(first, k.shape)[..., None, None], np.broadcast_to(second, k.shape)[..., None, None]
    u = np.sqrt(first) * z[:, None]
    conditional = np.sqrt(np.maximum(second - k[..., None, None] ** 2 / first, 0))
    v = k[..., None, None] / np.sqrt(first) * z[:, None] + conditional * z
    pairs = zip(function(u), function(v), strict=True)
    return tuple(np.einsum("...ab,...ab,a,b->...", np.broadcast_to(f, g.shape), g, weight, weight) for f, g in pairs)


def _pointwise(layer, k, t):
    if layer.name == "relu":
        moment, derivative = _relu(k, *_variances(k))
    else:
        moment, derivative = _quadrature({"tanh": _tanh, "gelu": _gelu}[layer.name], k, *_variances(k))
    return moment, t * derivative


RULES = {
    Dense: _weights,
    Conv: _conv,
    Pointwise: _pointwise,
    AveragePool: lambda layer, k, t: (_pooled(k, layer.size), _pooled(t, layer.size)),
    GlobalAveragePool: lambda layer, k, t: (k.mean(axis=(2, 3, 4, 5)), t.mean(axis=(2, 3, 4, 5))),
    Flatten: lambda layer, k, t: (_equal_positions(k), _equal_positions(t)),
    Repeat: lambda layer, k, t: _walk(layer.layers * layer.times, (k, t)),
}
