import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def problem():
    """Data that are standard normal under the Ornstein-Uhlenbeck process: the score is -x."""
    import piadm

    grid = piadm.Grid.log_snr(40, between=(6.0, 0.01))
    return dict(schedule="ou", grid=grid, prediction="score", samples=3, shape=(2, 4), sampler="picard")
