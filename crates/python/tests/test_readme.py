"""The programs of the README, with stand-ins for the user's own."""

import re
from pathlib import Path

import numpy as np
import piadm

README = (Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
BLOCKS = [block for block in BLOCKS if "torch" not in block.split("#")[0]]


def test_the_first_ten_lines(capsys):
    names = {"unet": lambda x, t: 0.5 * x}
    exec(BLOCKS[0], names)
    assert names["images"].shape == (1, 3, 64, 64) and "guarantee" in capsys.readouterr().out


def test_networks_with_labels_and_guidance(problem):
    targets = np.array([[1.0], [2.0], [4.0], [0.0]])  # the last one without a label
    names = {"np": np, "unet": lambda x, t, labels: np.broadcast_to(targets[labels], x.shape)}
    names |= {"labels": np.arange(3), "no_label": lambda n: np.full(n, 3)}
    settings = dict(schedule="flow", grid=piadm.Grid.uniform(10), scheme="ddim", prediction="data", shape=2, samples=3)
    found = []
    for block in BLOCKS[1:]:
        exec(block, names)
        found.append(piadm.sample(names["network"], **settings, sampler="picard").samples[:, 0].tolist())
    assert found == [[1, 2, 4], [5, 10, 20]]
