"""The exceptions of piadm. What a network raises is not among them: it reaches the caller as it is."""


class Error(Exception):
    """Any error of piadm, with the crate's own text: what was wrong and what to do about it."""

    __module__ = "piadm"


class InputError(Error, ValueError):
    """What was asked for cannot be: a setting out of range, a wrong shape, things that do not go together."""

    __module__ = "piadm"


class SamplingError(Error, RuntimeError):
    """A run failed: numbers that are not finite, no convergence, no memory."""

    __module__ = "piadm"
