"""The errors that a user can meet, and the exit codes that go with them.

A user's mistake is a `MimflowError`: the command line prints it and exits with its code, without a
traceback. Anything else that is raised is a bug of ours and stays loud.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_OF_STORAGE = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EXDEV),
    *(errno.EIO, errno.ESTALE, errno.ELOOP, errno.EBUSY, errno.EMFILE, errno.ENFILE, errno.EEXIST, errno.ENOTDIR),
)
"""Errors of the system's that say something of its disks, and nothing of our code."""


class MimflowError(Exception):
    """Something a person can put right. `exit_code` is what the process ends with."""

    exit_code = 1


class SpecError(MimflowError):
    """A spec says something that can't be: one line a problem, `file:line:column: field: problem (hint)`."""

    exit_code = 2


class PlanError(MimflowError):
    """Something was asked for that no spec makes, or that specs make twice."""

    exit_code = 2


class DataError(MimflowError):
    """A data set is not what its spec says: a bad image, an empty class, a missing folder."""

    exit_code = 2


class NotFiniteError(MimflowError):
    """A loss or a sample stopped being finite; the last good checkpoint is kept."""

    exit_code = 3


class OutOfMemoryError(MimflowError):
    """The device has no memory left; the message names a batch size to try."""

    exit_code = 4


class StorageError(MimflowError):
    """A file could not be written, or not be reached: no space, no permission, a fault. Earlier files are whole."""

    exit_code = 5


class LockedError(MimflowError):
    """Another process is at work on the same job."""

    exit_code = 6


class ArtifactError(MimflowError):
    """A file of the store is missing, corrupt, or not the one that its manifest names."""

    exit_code = 7


class DeviceError(MimflowError):
    """A device was asked for that is not there."""

    exit_code = 8


class PeerLostError(MimflowError):
    """Another process of the same job has ended; what that one says is the reason."""

    exit_code = 9


class Interrupted(MimflowError):
    """A signal that asks to stop arrived; training writes a checkpoint first."""

    exit_code = 143


@contextmanager
def storage_errors(place: object) -> Iterator[None]:
    """Turn the system's errors about disks into StorageError, which names the file, or else `place`."""
    try:
        yield
    except shutil.Error as error:  # of copying a folder: source, target and reason of each file that failed
        _, target, reason = error.args[0][0]
        raise StorageError(f"{target}: can't write: {reason}") from error
    except OSError as error:
        if error.errno not in _OF_STORAGE:
            raise
        path = error.filename
        unreadable = isinstance(path, str) and Path(path).is_file() and not os.access(path, os.R_OK)
        verb = "read" if unreadable or error.errno == errno.ELOOP else "write"
        raise StorageError(f"{path or place}: can't {verb}: {error.strerror}") from error
