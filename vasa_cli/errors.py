"""Every error a user can meet, each with the exit code a shell script can act on."""

from __future__ import annotations

import errno

USED_UP = {errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EMFILE}


class VasaError(Exception):
    """One clear line: what is wrong, in which file, what was seen, what to do."""

    exit_code = 1


class UsageError(VasaError):
    """An option or argument cannot be used as given."""

    exit_code = 2


class InputError(VasaError):
    """A picture, sound or video cannot be used; trying again will not help."""

    exit_code = 3


class WeightsError(VasaError):
    """Trained weights are missing, damaged or of another version."""

    exit_code = 4


class ResourceError(VasaError):
    """Memory, disk or a helper program gave out; trying again may help."""

    exit_code = 5


class ProvenanceError(VasaError):
    """Provenance was required and could not be written."""

    exit_code = 6


def explain(error: Exception) -> tuple[str, int]:
    """The message and the exit code for any error that left the library."""
    if isinstance(error, VasaError):
        return str(error), error.exit_code
    # By name, since torch is not imported here: its own error, and its CPU allocator's plain one.
    out_of_memory = (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in str(error)
    )
    if out_of_memory:
        message = "out of memory; close other programs or give a smaller --size"
        return message, ResourceError.exit_code
    if isinstance(error, OSError) and error.errno in USED_UP:
        where = f" ({error.filename})" if error.filename else ""
        return f"{error.strerror}{where}; free some and run again", ResourceError.exit_code
    message = f"unexpected {type(error).__name__}: {error}; please report it"
    return f"{message} (VASA_DEBUG=1 shows the traceback)", VasaError.exit_code
