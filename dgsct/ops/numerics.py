"""How numbers are computed, in training, evaluation, probes and feature extraction alike: set here, and nowhere else."""

import torch


def exact_numerics(threads: int | None = None) -> None:
    """TF32 and the choice of kernels by timing are off, whatever the environment says (the ledger's `numerics`); torch uses
    so many threads, where it is told.
    """
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    if threads:
        torch.set_num_threads(threads)
