"""The noise of the particles."""

import subprocess
import sys

import jax
import numpy as np

from widelimit.particles._noise import orthonormal

STACKS = """
import jax
from widelimit.particles._noise import orthonormal
noise = jax.random.normal(jax.random.key(0), (4, 16, 128, 512))
orthonormals = jax.jit(lambda stacks: [orthonormal(stack) for stack in stacks])
for _ in range(3):
    jax.block_until_ready(orthonormals(noise))
"""


def test_rows_of_each_matrix_are_orthonormal():
    noise = jax.random.normal(jax.random.key(0), (2, 3, 5, 40))
    found = orthonormal(noise)
    products = np.einsum("...ik,...jk->...ij", found, found) / 40
    np.testing.assert_allclose(products, np.broadcast_to(np.eye(5), products.shape), atol=1e-12)


def test_several_stacks_in_one_program_end():
    # XLA's pool of two threads once waited for ever; a process of its own can be stopped
    subprocess.run([sys.executable, "-c", STACKS], check=True, timeout=120)
