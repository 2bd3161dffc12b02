"""Pictures. matplotlib is imported where a picture is drawn."""

from ._demo import DemoResult as DemoResult
from ._demo import draw_demo as draw_demo
from ._kernel import draw_kernel as draw_kernel
from ._style import save as save
from ._verify import draw_verify as draw_verify
