"""A progress bar: that of tqdm where it is installed, or a line on stderr."""

from __future__ import annotations

import sys
from typing import Any, Callable, Optional, Union


class Line:
    """A line on stderr that is written anew whenever another percent is done."""

    def __init__(self) -> None:
        self.percent = -1

    def update(self, round: Any) -> None:
        share = round.finished.mean() / round.steps
        if int(100 * share) > self.percent:
            self.percent = int(100 * share)
            bar = "#" * int(30 * share)
            print(f"\r|{bar:<30}| {self.percent:3d} %  round {round.round}", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        if self.percent >= 0:
            print(file=sys.stderr)


class Tqdm:
    """tqdm's bar, counting finished steps of all samples."""

    def __init__(self, tqdm: Any) -> None:
        self.tqdm = tqdm
        self.bar: Any = None

    def update(self, round: Any) -> None:
        if self.bar is None:
            self.bar = self.tqdm(total=round.steps * len(round.finished), unit="step")
        self.bar.set_postfix(round=round.round, refresh=False)
        self.bar.update(int(round.finished.sum()) - self.bar.n)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()


class Progress:
    """What `progress=` stands for: `call` is told about every round, the bar is closed at the end."""

    def __init__(self, progress: Union[bool, Callable[[Any], Any], None]) -> None:
        self.bar: Any = None
        self.call: Optional[Callable[[Any], Any]] = progress if callable(progress) else None
        if progress is True:
            try:
                from tqdm import tqdm

                self.bar = Tqdm(tqdm)
            except ImportError:
                self.bar = Line()
            self.call = self.bar.update

    def __enter__(self) -> Optional[Callable[[Any], Any]]:
        return self.call

    def __exit__(self, *_: Any) -> None:
        if self.bar is not None:
            self.bar.close()
