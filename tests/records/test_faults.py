"""Whose fault an error is: what libraries really say, as they say it."""

import pytest

from dgsct.errors import DgsctError, MachineError
from dgsct.records.failures import counts
from dgsct.records.faults import of_the_machine


class SafetensorError(Exception):
    pass


class BackendCompilerFailed(RuntimeError):
    pass


class DeferredCudaCallError(Exception):
    pass


@pytest.mark.parametrize(
    "error",
    [
        KeyError("getpwuid(): uid not found: 12345"),
        RuntimeError("Could not determine home directory."),
        ImportError("libcudart.so.13: cannot open shared object file: No such file or directory"),
        ModuleNotFoundError("No module named 'triton'", name="triton"),
        RuntimeError("No CUDA GPUs are available"),
        RuntimeError("Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU and installed a driver"),
        RuntimeError("Unexpected error from cudaGetDeviceCount(). Did you run some cuda functions before NumCudaDevices()"),
        RuntimeError("CUDA error: uncorrectable ECC error encountered\nCUDA kernel errors might be asynchronously reported"),
        RuntimeError("CUDA error: CUDA-capable device(s) is/are busy or unavailable"),
        RuntimeError("CUDA error: no kernel image is available for execution on the device"),
        RuntimeError("CUDA driver initialization failed, you might not have a CUDA gpu."),
        RuntimeError("NVML_SUCCESS == r INTERNAL ASSERT FAILED at CUDACachingAllocator.cpp"),
        DeferredCudaCallError("CUDA call failed lazily at initialization with error: device >= 0 ... invalid device ordinal"),
        RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"),
        RuntimeError("NCCL error in: ProcessGroupNCCL.cpp:77, unhandled system error, NCCL version 2.27"),
        RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0"),
        RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed"),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
        SafetensorError("Error while serializing: IoError(Os { code: 122, kind: QuotaExceeded })"),
        BackendCompilerFailed("backend='inductor' raised:\nInvalidCxxCompiler: No working C++ compiler found in ..."),
        RuntimeError("Cannot find a working triton installation. Either the package is not installed or it is too old."),
        RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that shared memory is too low"),
        RuntimeError("can't start new thread"),
        RuntimeError("unable to open file </dev/shm/torch_1> in read-write mode: Too many open files (24)"),
        DgsctError("packed/frames.npy is missing or damaged ([Errno 5] Input/output error: 'frames.npy'); make it again"),
        MachineError("cannot write record.json: Stale file handle; free space"),
        UnicodeEncodeError("ascii", "é", 0, 1, "ordinal not in range(128)"),
    ],
)
def test_what_the_machine_does_settles_no_run(error):
    assert of_the_machine(error)
    assert not counts(error)


@pytest.mark.parametrize(
    "error",
    [
        DgsctError("the loss is nan at step 5; lower the learning rate"),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied (4x16 and 8x2)"),
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("CUDA error: device-side assert triggered"),
        RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 139 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!"),
        MemoryError(),
        KeyError("frames"),
        ValueError("unknown method"),
        ImportError("cannot import name 'Adapter'", name="dgsct.models.adapter"),
        AssertionError(),
    ],
)
def test_what_the_run_does_counts(error):
    assert counts(error)


def test_an_error_is_that_of_its_cause_unless_a_sentence_says_more():
    """A missing file of the data is the run's to tell, as a cell that nobody will ever fill."""
    plain, told = RuntimeError("while the weights were written"), DgsctError("labels.npy is missing or damaged")
    for error in (plain, told):
        error.__cause__ = FileNotFoundError(2, "No such file or directory")
    assert [counts(error) for error in (plain, told)] == [False, True]
