"""The 3 x 3 convolution of small maps, with a gradient for the kernel that CPUs compute fast."""

from typing import Final

import flax.linen as nn
import jax
import jax.numpy as jnp

CHUNK: Final = 4
"""Maps whose neighbourhoods are laid out at a time: few enough for a CPU's cache."""


class Convolution(nn.Module):
    """Each cell with its eight neighbours, zeros outside: [..., W, H, C] -> [..., W, H, channels].

    The kernel is [9 * C, channels], its rows by x, then y, then channel.
    """

    channels: int

    @nn.compact
    def __call__(self, image: jax.Array) -> jax.Array:
        depth = image.shape[-1]
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (9 * depth, self.channels), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (self.channels,), jnp.float32)
        maps = convolve(image.reshape(-1, *image.shape[-3:]), kernel.reshape(3, 3, depth, self.channels))
        maps = maps.reshape(*image.shape[:-1], self.channels)
        return maps + jnp.broadcast_to(bias, maps.shape)


@jax.custom_vjp
def convolve(image: jax.Array, kernel: jax.Array) -> jax.Array:
    """float32[N, W, H, K], the convolution of float32[N, W, H, C] with float32[3, 3, C, K], zeros outside."""
    return jax.lax.conv_general_dilated(image, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _forward(image: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return convolve(image, kernel), (image, kernel)


def _backward(kept: tuple[jax.Array, jax.Array], grad: jax.Array) -> tuple[jax.Array, jax.Array]:
    """XLA's own gradient for the kernel is a convolution with a kernel as large as the batch: slow on CPUs."""
    image, kernel = kept
    return convolve(grad, kernel[::-1, ::-1].swapaxes(2, 3)), _kernel_gradient(image, grad).reshape(kernel.shape)


convolve.defvjp(_forward, _backward)


def _kernel_gradient(image: jax.Array, grad: jax.Array) -> jax.Array:
    """float32[9 * C, K], a product of matrices, chunk by chunk on CPUs."""
    count, depth, channels = image.shape[0], image.shape[-1], grad.shape[-1]

    def product(image: jax.Array, grad: jax.Array) -> jax.Array:
        return grad.reshape(-1, channels).T @ _neighbourhoods(image).reshape(-1, 9 * depth)

    if jax.default_backend() != "cpu" or count % CHUNK != 0:
        return product(image, grad).T
    chunks = [leaf.reshape(-1, CHUNK, *leaf.shape[1:]) for leaf in (image, grad)]
    start = jnp.zeros((channels, 9 * depth), image.dtype)
    return jax.lax.scan(lambda total, chunk: (total + product(*chunk), None), start, tuple(chunks))[0].T


def _neighbourhoods(image: jax.Array) -> jax.Array:
    """[..., W, H, C] -> [..., W, H, 9 * C], each cell with its eight neighbours, zeros outside."""
    return windows(jnp.pad(image, [(0, 0)] * (image.ndim - 3) + [(1, 1), (1, 1), (0, 0)]), 3)


def windows(image: jax.Array, side: int) -> jax.Array:
    """[..., W, H, C] -> [..., W - side + 1, H - side + 1, side * side * C], the square windows, by x, y, channel."""
    width, height = image.shape[-3] - side + 1, image.shape[-2] - side + 1
    shifts = [image[..., x : x + width, y : y + height, :] for x in range(side) for y in range(side)]
    return jnp.concatenate(shifts, -1)
