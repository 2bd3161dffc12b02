"""Convolutional networks: residual, dense, depthwise, grouped, dilated, transposed; pooling; U-Nets."""

import equinox as eqx
import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

import widelimit as wl
from zoo._inputs import unit
from zoo._row import KEEPING_LAWS, row

IMAGES = unit(2, 4, 4, 3)
CHANNELS_FIRST = unit(2, 3, 4, 4)
SIGNALS = unit(3, 8, 2)
VOLUMES = unit(2, 2, 4, 2, 2)


# --- plain JAX --------------------------------------------------------------------------------------------------------


def he(key, shape):
    """Normal entries of variance 2/fan-in."""
    fan_in = jnp.prod(jnp.asarray(shape[:-1]))
    return jax.random.normal(key, shape) * jnp.sqrt(2 / fan_in)


def conv(x, w, stride=1, padding="SAME", groups=1, dilation=1):
    rank = x.ndim - 1
    axes = "DHW"[3 - rank :]
    out = lax.conv_general_dilated(
        x[None],
        w,
        (stride,) * rank,
        padding,
        rhs_dilation=(dilation,) * rank,
        dimension_numbers=(f"N{axes}C", f"{axes}IO", f"N{axes}C"),
        feature_group_count=groups,
    )
    return out[0]


def network(shapes, apply):
    def init(key, n):
        table = shapes(n)
        keys = jax.random.split(key, len(table))
        return {name: he(k, shape) for k, (name, shape) in zip(keys, table.items(), strict=True)}

    return wl.Network(init, apply)


@row("Myrtle", source="jax", x=IMAGES)
def myrtle():
    """Shankar et al., Neural kernels without tangents (2020): convolutions and average pooling."""

    def apply(p, x):
        for name in ("c1", "c2"):
            x = jax.nn.relu(conv(x, p[name]))
        x = lax.reduce_window(x, 0.0, lax.add, (2, 2, 1), (2, 2, 1), "VALID") / 4
        x = jax.nn.relu(conv(x, p["c3"]))
        x = lax.reduce_window(x, 0.0, lax.add, (2, 2, 1), (2, 2, 1), "VALID") / 4
        return x.reshape(-1) @ p["out"]

    return network(lambda n: {"c1": (3, 3, 3, n), "c2": (3, 3, n, n), "c3": (3, 3, n, n), "out": (n, 1)}, apply)


@row("1-D convolution", source="jax", x=SIGNALS)
def signals():
    def apply(p, x):
        x = jnp.tanh(conv(x, p["c1"], stride=2))
        x = jnp.tanh(conv(x, p["c2"], padding="VALID"))
        return x.mean(0) @ p["out"]

    return network(lambda n: {"c1": (3, 2, n), "c2": (2, n, n), "out": (n, 1)}, apply)


@row("3-D convolution", source="jax", x=VOLUMES)
def volumes():
    def apply(p, x):
        x = jax.nn.relu(conv(x, p["c1"]))
        x = jax.nn.relu(conv(x, p["c2"], stride=2))
        return x.mean((0, 1, 2)) @ p["out"]

    return network(lambda n: {"c1": (2, 2, 2, 2, n), "c2": (2, 2, 2, n, n), "out": (n, 1)}, apply)


@row("dilated convolution", source="jax", x=SIGNALS)
def dilated():
    """A stack whose field of view doubles from layer to layer, causal, with skips: WaveNet's residual part."""

    def causal(x, w, dilation):
        return conv(jnp.pad(x, ((dilation, 0), (0, 0))), w, padding="VALID", dilation=dilation)

    def apply(p, x):
        x = causal(x, p["c0"], 1)
        for i in (1, 2):
            x = x + causal(jax.nn.relu(x), p[f"c{i}"], 2**i)
        return jax.nn.relu(x[-1]) @ p["out"]

    return network(lambda n: {"c0": (2, 2, n), "c1": (2, n, n), "c2": (2, n, n), "out": (n, 1)}, apply)


@row("depthwise convolution and normalisation", source="jax", x=IMAGES)
def convnext_block():
    def layer_norm(x):
        return (x - x.mean(-1, keepdims=True)) * lax.rsqrt(x.var(-1, keepdims=True) + 1e-6)

    def apply(p, x):
        x = conv(x, p["stem"])
        h = layer_norm(conv(x, p["depthwise"], groups=x.shape[-1]))
        x = x + jax.nn.gelu(h @ p["up"]) @ p["down"]
        return x.mean((0, 1)) @ p["out"]

    return network(
        lambda n: {
            "stem": (2, 2, 3, n),
            "depthwise": (3, 3, 1, n),
            "up": (n, 2 * n),
            "down": (2 * n, n),
            "out": (n, 1),
        },
        apply,
    )


@row("MobileNet, depthwise, ReLU, pointwise", source="jax", x=IMAGES, limit={"accuracy": 1e-3})
def mobilenet():
    """Howard et al., MobileNets (2017), in NTK parametrisation: the filter is followed by its activation at once."""

    def apply(p, x):
        n = len(p["out"])
        h = conv(x, p["stem"]) / 12**0.5
        h = jax.nn.relu(conv(h, p["depthwise"], groups=n) / 3 + 0.1 * p["shift"])
        h = jax.nn.relu(h @ p["pointwise"] * (2 / n) ** 0.5)
        return h.mean((0, 1)) @ p["out"] / n**0.5

    def init(key, n):
        shapes = {
            "stem": (2, 2, 3, n),
            "depthwise": (3, 3, 1, n),
            "shift": (n,),
            "pointwise": (n, n),
            "out": (n, 1),
        }
        keys = jax.random.split(key, len(shapes))
        return {name: jax.random.normal(k, s) for k, (name, s) in zip(keys, shapes.items(), strict=True)}

    return wl.Network(init, apply)


@row("max pooling", source="jax", x=IMAGES, approximate=True)
def max_pooling():
    def apply(p, x):
        x = conv(x, p["c1"])
        x = jax.nn.relu(lax.reduce_window(x, -jnp.inf, lax.max, (2, 2, 1), (2, 2, 1), "VALID"))
        x = jax.nn.relu(conv(x, p["c2"]))
        return x.mean((0, 1)) @ p["out"]

    return network(lambda n: {"c1": (3, 3, 3, n), "c2": (2, 2, n, n), "out": (n, 1)}, apply)


# --- flax -------------------------------------------------------------------------------------------------------------


class PostActivation(nnx.Module):
    """He et al., Deep residual learning (2015): normalisation after each convolution, activation after the sum."""

    def __init__(self, inputs, width, stride, rngs):
        self.conv1 = nnx.Conv(inputs, width, (3, 3), strides=stride, use_bias=False, rngs=rngs)
        self.norm1 = nnx.BatchNorm(width, use_running_average=True, rngs=rngs)
        self.conv2 = nnx.Conv(width, width, (3, 3), use_bias=False, rngs=rngs)
        self.norm2 = nnx.BatchNorm(width, use_running_average=True, rngs=rngs)
        self.skip = nnx.Conv(inputs, width, (1, 1), strides=stride, use_bias=False, rngs=rngs)

    def __call__(self, x):
        h = nnx.relu(self.norm1(self.conv1(x)))
        return nnx.relu(self.skip(x) + self.norm2(self.conv2(h)))


class ResNet(nnx.Module):
    def __init__(self, width, rngs):
        self.stem = nnx.Conv(3, width, (3, 3), kernel_init=nnx.initializers.he_normal(), use_bias=False, rngs=rngs)
        self.blocks = nnx.List([PostActivation(width, width, 1, rngs), PostActivation(width, 2 * width, 2, rngs)])
        self.head = nnx.Linear(2 * width, 1, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.stem(x))
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((0, 1)))


@row("ResNet", source="flax.nnx", x=IMAGES, approximate=True)
def resnet():
    return wl.from_flax(lambda width, rngs: ResNet(width, rngs=rngs))


class PreActivation(nnx.Module):
    """He et al., Identity mappings (2016), with layer normalisation."""

    def __init__(self, inputs, width, rngs):
        self.norm1 = nnx.LayerNorm(inputs, rngs=rngs)
        self.conv1 = nnx.Conv(inputs, width, (3, 3), rngs=rngs)
        self.norm2 = nnx.LayerNorm(width, rngs=rngs)
        self.conv2 = nnx.Conv(width, width, (3, 3), rngs=rngs)
        self.skip = nnx.Conv(inputs, width, (1, 1), rngs=rngs) if inputs != width else None

    def __call__(self, x):
        h = self.conv1(nnx.relu(self.norm1(x)))
        h = self.conv2(nnx.relu(self.norm2(h)))
        return (x if self.skip is None else self.skip(x)) + h


class WideResNet(nnx.Module):
    """Zagoruyko & Komodakis (2016): the factor of the width is what grows."""

    def __init__(self, factor, rngs):
        self.stem = nnx.Conv(3, factor, (3, 3), rngs=rngs)
        self.blocks = nnx.List([PreActivation(factor, factor, rngs), PreActivation(factor, 2 * factor, rngs)])
        self.norm = nnx.LayerNorm(2 * factor, rngs=rngs)
        self.head = nnx.Linear(2 * factor, 1, rngs=rngs)

    def __call__(self, x):
        x = self.blocks[0](self.stem(x))
        x = self.blocks[1](nnx.avg_pool(x, (2, 2), strides=(2, 2)))
        return self.head(nnx.relu(self.norm(x)).mean((0, 1)))


@row("WideResNet, pre-activation", source="flax.nnx", x=IMAGES, approximate=True)
def wide_resnet():
    return wl.from_flax(lambda width, rngs: WideResNet(width, rngs=rngs))


class DenseNet(nnx.Module):
    """Huang et al. (2017): every layer reads all earlier ones, joined along the width."""

    def __init__(self, growth, rngs):
        self.stem = nnx.Conv(3, growth, (3, 3), rngs=rngs)
        self.norms = nnx.List([nnx.LayerNorm(i * growth, rngs=rngs) for i in (1, 2)])
        self.convs = nnx.List([nnx.Conv(i * growth, growth, (3, 3), rngs=rngs) for i in (1, 2)])
        self.transition = nnx.Conv(3 * growth, growth, (1, 1), rngs=rngs)
        self.head = nnx.Linear(growth, 1, rngs=rngs)

    def __call__(self, x):
        x = self.stem(x)
        for norm, conv in zip(self.norms, self.convs, strict=True):
            x = jnp.concatenate([x, conv(nnx.relu(norm(x)))], axis=-1)
        x = nnx.avg_pool(x, (2, 2), strides=(2, 2))
        return self.head(nnx.relu(self.transition(x)).mean((0, 1)))


@row("DenseNet", source="flax.nnx", x=IMAGES, approximate=True)
def densenet():
    return wl.from_flax(lambda width, rngs: DenseNet(width, rngs=rngs))


class ConvNeXtBlock(nnx.Module):
    def __init__(self, width, rngs):
        self.depthwise = nnx.Conv(width, width, (7, 7), feature_group_count=width, rngs=rngs)
        self.norm = nnx.LayerNorm(width, epsilon=1e-6, rngs=rngs)
        self.up = nnx.Linear(width, 4 * width, rngs=rngs)
        self.down = nnx.Linear(4 * width, width, rngs=rngs)

    def __call__(self, x):
        return x + self.down(nnx.gelu(self.up(self.norm(self.depthwise(x)))))


class ConvNeXt(nnx.Module):
    """Liu et al., A ConvNet for the 2020s: 7×7 depthwise convolution, LayerNorm, GELU between two layers."""

    def __init__(self, width, rngs):
        self.stem = nnx.Conv(3, width, (2, 2), strides=2, rngs=rngs)
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        self.blocks = nnx.List([ConvNeXtBlock(width, rngs) for _ in range(2)])
        self.last = nnx.LayerNorm(width, rngs=rngs)
        self.head = nnx.Linear(width, 1, rngs=rngs)

    def __call__(self, x):
        x = self.norm(self.stem(x))
        for block in self.blocks:
            x = block(x)
        return self.head(self.last(x.mean((0, 1))))


@row("ConvNeXt", source="flax.nnx", x=IMAGES, approximate=True)
def convnext():
    return wl.from_flax(lambda width, rngs: ConvNeXt(width, rngs=rngs))


class Grouped(nnx.Module):
    """ResNeXt's block (Xie et al. 2017): four groups, each as wide as the network allows."""

    def __init__(self, width, rngs):
        self.stem = nnx.Conv(3, width, (3, 3), rngs=rngs)
        self.reduce = nnx.Conv(width, width, (1, 1), rngs=rngs)
        self.grouped = nnx.Conv(width, width, (3, 3), feature_group_count=4, rngs=rngs)
        self.expand = nnx.Conv(width, width, (1, 1), rngs=rngs)
        self.head = nnx.Linear(width, 1, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.stem(x))
        h = nnx.relu(self.grouped(nnx.relu(self.reduce(x))))
        return self.head(nnx.relu(x + self.expand(h)).mean((0, 1)))


@row("grouped convolution", source="flax.nnx", x=IMAGES, approximate=True)
def grouped():
    return wl.from_flax(lambda width, rngs: Grouped(width, rngs=rngs))


class Decoder(nnx.Module):
    def __init__(self, width, rngs):
        self.stem = nnx.Conv(3, width, (3, 3), strides=2, rngs=rngs)
        self.up = nnx.ConvTranspose(width, width, (3, 3), strides=(2, 2), rngs=rngs)
        self.flipped = nnx.ConvTranspose(width, width, (2, 2), transpose_kernel=True, rngs=rngs)
        self.head = nnx.Conv(width, 1, (3, 3), rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.up(nnx.relu(self.stem(x))))
        return self.head(nnx.relu(self.flipped(x)))[0, 0]


@row("transposed convolution", source="flax.nnx", x=IMAGES, approximate=True)
def decoder():
    return wl.from_flax(lambda width, rngs: Decoder(width, rngs=rngs))


class UNet(nnx.Module):
    """Ronneberger et al. (2015): down, up by resizing, the skip joined along the width."""

    def __init__(self, width, rngs):
        self.down = nnx.Conv(3, width, (3, 3), rngs=rngs)
        self.bottom = nnx.Conv(width, 2 * width, (3, 3), rngs=rngs)
        self.up = nnx.Conv(3 * width, width, (3, 3), rngs=rngs)
        self.head = nnx.Conv(width, 1, (1, 1), rngs=rngs)

    def __call__(self, x):
        skip = nnx.relu(self.down(x))
        h = nnx.relu(self.bottom(nnx.avg_pool(skip, (2, 2), strides=(2, 2))))
        h = jax.image.resize(h, (*skip.shape[:2], h.shape[-1]), "bilinear")
        h = nnx.relu(self.up(jnp.concatenate([skip, h], axis=-1)))
        return self.head(h)[1:3, 1:3, 0]


@row("U-Net", source="flax.nnx", x=IMAGES, approximate=True)
def unet():
    return wl.from_flax(lambda width, rngs: UNet(width, rngs=rngs))


# --- equinox ----------------------------------------------------------------------------------------------------------


class Pooled(eqx.Module):
    conv1: eqx.nn.Conv2d
    conv2: eqx.nn.Conv2d
    pool: eqx.nn.AvgPool2d
    head: eqx.nn.Linear

    def __init__(self, width, key):
        k = jax.random.split(key, 3)
        self.conv1 = eqx.nn.Conv2d(3, width, 3, padding=1, key=k[0])
        self.conv2 = eqx.nn.Conv2d(width, width, 3, groups=2, padding="SAME", key=k[1])
        self.pool = eqx.nn.AvgPool2d(2, 2)
        self.head = eqx.nn.Linear(4 * width, 1, key=k[2])

    def __call__(self, x):
        x = self.pool(jax.nn.relu(self.conv1(x)))
        return self.head(jax.nn.relu(self.conv2(x)).reshape(-1))


@row("convolutions in groups, average pooling", source="equinox", x=CHANNELS_FIRST, approximate=True)
def pooled():
    return wl.from_equinox(lambda width, key: Pooled(width, key=key))


class MaxPooled(eqx.Module):
    layers: list
    head: eqx.nn.Linear

    def __init__(self, width, key):
        k = jax.random.split(key, 2)
        self.layers = [eqx.nn.Conv2d(3, width, 3, padding=1, key=k[0]), eqx.nn.MaxPool2d(2, 2), jax.nn.relu]
        self.head = eqx.nn.Linear(4 * width, 1, key=k[1])

    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return self.head(x.reshape(-1))


@row("max pooling", source="equinox", x=CHANNELS_FIRST, approximate=True)
def max_pooled():
    return wl.from_equinox(lambda width, key: MaxPooled(width, key=key))


class Upsampled(eqx.Module):
    conv: eqx.nn.Conv1d
    up: eqx.nn.ConvTranspose1d
    head: eqx.nn.Linear

    def __init__(self, width, key):
        k = jax.random.split(key, 3)
        self.conv = eqx.nn.Conv1d(2, width, 3, padding=1, key=k[0])
        self.up = eqx.nn.ConvTranspose1d(width, width, 2, stride=2, key=k[1])
        self.head = eqx.nn.Linear(width, 1, key=k[2])

    def __call__(self, x):
        x = jnp.tanh(self.up(jnp.tanh(self.conv(x.T))))
        return self.head(x.mean(-1))


@row("transposed convolution", source="equinox", x=SIGNALS, limit=KEEPING_LAWS)
def upsampled():
    return wl.from_equinox(lambda width, key: Upsampled(width, key=key))


# --- depthwise convolution and a nonlinearity -----------------------------------------------------------------------


class Separable(nnx.Module):
    """MobileNet (Howard et al. 2017): a depthwise convolution, an activation, a convolution of one tap."""

    def __init__(self, width, rngs):
        normal = nnx.initializers.variance_scaling(1.0, "fan_in", "normal")
        self.stem = nnx.Conv(2, width, (3,), kernel_init=normal, rngs=rngs)
        self.depthwise = nnx.Conv(width, width, (3,), feature_group_count=width, kernel_init=normal, rngs=rngs)
        self.pointwise = nnx.Conv(width, width, (1,), rngs=rngs)
        self.head = nnx.Linear(width, 1, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu6(self.depthwise(nnx.relu6(self.stem(x))))
        return self.head(nnx.relu6(self.pointwise(x)).mean(0))


@row("MobileNet, depthwise and pointwise", source="flax.nnx", x=unit(2, 4, 2), approximate=True)
def separable():
    return wl.from_flax(lambda width, rngs: Separable(width, rngs=rngs))
