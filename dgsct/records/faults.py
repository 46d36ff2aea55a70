"""Whether an error is a fault of the machine: of its disk, driver, libraries, compiler, or of another process of the run.

Such an error says nothing of the run, which may well succeed at the next start or elsewhere. Libraries tell it in exceptions
of their own or in words, so that types alone do not do. What a wrong program brings about as well (an illegal address on the
GPU, memory that runs out) is the run's. No torch here.
"""

import errno
import os
import re
import subprocess

from dgsct.errors import DgsctError, MachineError

# Another process of the same run has ended, which that one has a better reason for.
CONSEQUENCES = ("DistBackendError", "DistNetworkError", "DistStoreError")
LOST = re.compile(r"connection (closed|reset) by peer|broken pipe|timed out waiting|gloo|nccl", re.I)
# What the system says of disks, networks and limits, wherever it is quoted.
SYSTEM = (
    errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EROFS, errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE,
    errno.EAGAIN, errno.ETIMEDOUT, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENOTCONN,
)  # fmt: skip
TOLD = (
    # the GPU, its driver, and a build that does not fit them
    "no cuda gpus are available", "no nvidia driver", "the nvidia driver on your system", "nvml", "no cuda-capable device",
    "busy or unavailable", "invalid device ordinal", r"cuda driver (initialization|version|error)", "cuda unknown error",
    r"cuda error: (unknown error|initialization error|driver|hardware|system|mps)", "unexpected error from cuda",
    "display driver", "uncorrectable", r"\becc\b", "gpu is lost", "fallen off the bus", "no kernel image is available",
    "not compiled with cuda", r"(cublas|cudnn|cusolver|cusparse)_status_(not_initialized|arch_mismatch)",
    # writers and readers of files, and memory that processes share
    r"pytorchstream(writer|reader) failed", "inline_container", r"serializing: i/?o ?error", "allocate shared memory",
    "bus error",
    # compilers
    r"c\+\+ compil", "invalidcxxcompiler", r"\bc compiler", "working triton", "tritonmissing",
    # the user, the home, temporary files, processes
    "getpwuid", "username set in the environment", "determine home", "usable temporary directory", "start new thread",
)  # fmt: skip
WORDS = re.compile("|".join((*TOLD, *(re.escape(os.strerror(number)) for number in SYSTEM))), re.I)


def of_the_machine(error: BaseException) -> bool:
    """Whether an error is the machine's or a lost neighbour's; or what it was raised from, unless it is a sentence that says
    more of it: a file that is missing is the run's.
    """
    cause = None if isinstance(error, DgsctError) else error.__cause__
    return _itself(error) or (cause is not None and _itself(cause))


def _itself(error: BaseException) -> bool:
    if isinstance(error, MachineError | OSError | subprocess.SubprocessError | UnicodeEncodeError):
        return True
    if isinstance(error, ImportError):  # of a library: what is missing in this package is a fault of the program
        return not str(error.name or "").startswith("dgsct")
    text = re.sub(r"(?<!\w)/\S*|\S+/\S+/\S*", "", str(error))  # names of files say nothing of the machine
    lost = type(error).__name__ in CONSEQUENCES or bool(isinstance(error, RuntimeError) and LOST.search(text))
    return lost or bool(WORDS.search(text))
