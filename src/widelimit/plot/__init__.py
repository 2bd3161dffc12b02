"""Pictures. matplotlib is imported where a picture is drawn."""

from ._demo import DemoResult as DemoResult
from ._demo import draw_demo as draw_demo
from ._kernel import draw_kernel as draw_kernel
from ._permutation import EnsembleSizes as EnsembleSizes
from ._permutation import RealNetworks as RealNetworks
from ._permutation import draw_ensemble_sizes as draw_ensemble_sizes
from ._permutation import draw_networks as draw_networks
from ._program import draw_program as draw_program
from ._style import BLUE as BLUE
from ._style import GREEN as GREEN
from ._style import GREY as GREY
from ._style import ORANGE as ORANGE
from ._style import PURPLE as PURPLE
from ._style import figure as figure
from ._style import save as save
from ._style import slope_guide as slope_guide
from ._style import style as style
from ._style import width_axis as width_axis
from ._verify import draw_verify as draw_verify
