"""What piadm needs to know of a network, and networks of PyTorch."""

from __future__ import annotations

import inspect
from typing import Any, Callable

import numpy as np


def takes_rows(network: Callable[..., Any]) -> bool:
    """Whether a network has a parameter named `rows`."""
    try:
        return "rows" in inspect.signature(network).parameters
    except (TypeError, ValueError):  # a callable of another language, without a signature
        return False


def as_output(value: Any, dtype: str) -> np.ndarray:
    """A network's output as a plain array of this dtype: C order, aligned. Copies where it must."""
    if not hasattr(value, "__array__") and hasattr(value, "__dlpack__"):
        value = np.from_dlpack(value)
    array = np.asarray(value)
    if not np.can_cast(array.dtype, dtype, "same_kind"):
        raise TypeError(f"the network's output has dtype {array.dtype}, which is no {dtype}")
    return np.require(array, dtype, ["C_CONTIGUOUS", "ALIGNED"])


def torch_network(module: Callable[..., Any], device: Any = "cpu") -> Callable[..., np.ndarray]:
    """A module of PyTorch as a network: called as `module(x, t)` without gradients, on this device.

    On "cpu" the tensor of the states shares the memory of the array that piadm shows, and piadm reads the output from
    the module's own memory. `t` has the dtype of `x`; scale or round it in a function of your own:

        piadm.torch_network(lambda x, t: unet(x, t.round()).sample, "cuda")

    PyTorch is imported when the network is called.
    """

    def network(x: np.ndarray, t: np.ndarray) -> np.ndarray:
        import torch

        with torch.no_grad():
            states = torch.from_numpy(x).to(device)
            output = module(states, torch.from_numpy(t).to(device, states.dtype))
            return output.detach().to("cpu", states.dtype).numpy()

    return network
