"""Parts of the demonstration: its images, its regression, its settings."""

from pathlib import Path

import jax
import numpy as np
import pytest

from widelimit.cli._demo_data import by_class, mnist, one_of_each
from widelimit.cli._demo_settings import Settings
from widelimit.cli._regression import Regression, accuracy

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def images():
    return mnist(300, 100, KEY)


def test_images_are_shuffled_and_standardised(images):
    train, test = images
    assert train.images.shape == (300, 28, 28, 1)
    assert test.images.shape == (100, 28, 28, 1)
    assert np.bincount(test.labels, minlength=10).min() > 0
    np.testing.assert_allclose(train.images.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(train.images.std(), 1, rtol=1e-5)


def test_no_image_is_in_both(images):
    train, test = (part.images.reshape(len(part.images), -1) for part in images)
    assert min(np.abs(train - one).max(1).min() for one in test) > 0.1


def test_targets_average_to_zero(images):
    np.testing.assert_allclose(images[0].targets.sum(1), 0, atol=1e-12)
    assert (images[0].targets.argmax(1) == images[0].labels).all()


def test_one_of_each_and_by_class(images):
    test = images[1]
    assert test.labels[one_of_each(test)].tolist() == list(range(10))
    assert test.labels[by_class(test, 2)].tolist() == [label for label in range(10) for _ in range(2)]


def test_regression_is_the_ridge_solution():
    rng = np.random.default_rng(0)
    x, y, cross = rng.normal(size=(8, 20)), rng.normal(size=(8, 3)), rng.normal(size=(5, 8))
    kernel = x @ x.T
    expected = cross @ np.linalg.solve(kernel + 0.1 * np.mean(np.diag(kernel)) * np.eye(8), y)
    np.testing.assert_allclose(Regression.fit(kernel, y, ridge=0.1)(cross), expected)


def test_accuracy_counts_the_largest_output():
    assert accuracy(np.array([[1.0, 2.0], [3.0, 0.0]]), np.array([1, 1])) == 0.5


def test_fewer_networks_where_they_are_wide():
    settings = Settings(Path("demo.png"), 60, 20, (64, 128, 256, 512), networks=8, epochs=1, seed=0)
    assert [settings.networks_at(width) for width in settings.widths] == [8, 8, 4, 2]
