"""Numbers published with "Exact Learning of Permutations" (arXiv 2502.16763, version 1), from its authors' code and results.

How many networks were trained until 90 % and 99.9 % of 1,000 test inputs with two ones came out right, by number of bits.
Their networks have biases and weights N(0, 1/fan_in), width 50,000, and one learning rate: standard parametrisation.
"""

_COUNTS = "1 2 10 43 34 29 40 37 69 70 62 72 56 103 89 105 105 106 117 131 128 124 150 157 157 162 165 174 175"  # k = 2, …, 30
NETWORKS_90 = dict(zip(range(2, 31), map(int, _COUNTS.split()), strict=True))
NETWORKS_999 = {5: 43, 10: 129, 15: 163, 20: 254, 25: 308, 30: 318}
# mean squared error on the test inputs of the last average, k: MSE
ERRORS_90 = {10: 0.002114, 15: 0.001187, 20: 0.000801, 25: 0.000584, 30: 0.000468}
# the "theoretical bound" drawn in their figure 1, read off the picture (within 1 %)
BOUND = {2: 6705, 3: 5949, 4: 5712, 5: 5687, 10: 6560, 15: 7904, 20: 9383, 25: 10927, 30: 12510}
TEST_INPUTS = 1000
FAILURE = 0.1
