"""Sample diffusion models in parallel over time: `sample(network, ...)`.

NumPy in and out, any callable as the network.
"""

from ._errors import Error, InputError, SamplingError
from ._network import torch_network
from ._piadm import Report, Round, Rows, Solution, __version__
from ._sample import Session, sample, times
from ._specs import Automatic, Grid, Law, Picard, Schedule, Scheme

__all__ = [
    "Automatic",
    "Error",
    "Grid",
    "InputError",
    "Law",
    "Picard",
    "Report",
    "Round",
    "Rows",
    "SamplingError",
    "Schedule",
    "Scheme",
    "Session",
    "Solution",
    "__version__",
    "sample",
    "times",
    "torch_network",
]
