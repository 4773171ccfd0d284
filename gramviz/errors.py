"""The exceptions that gramviz raises on purpose.

Each message is one sentence fit for a visitor: it names the offending value and what would be right, and holds no
path of the server. Anything else that escapes is a defect. This module knows nothing of the rest of the package.
"""


class GramvizError(Exception):
    """Base of every deliberate error; `str(error)` may be shown to a visitor."""


class InputError(GramvizError):
    """A value, image or file from outside cannot be used."""


class CheckpointError(GramvizError):
    """A checkpoint is unknown, damaged, or does not fit its network."""


class ConfigError(GramvizError):
    """A setting or a training configuration is wrong."""


class BusyError(GramvizError):
    """The service cannot take this request now; trying again later may work."""
