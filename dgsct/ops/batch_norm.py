"""Batch normalisation: running statistics that move once a step, and statistics of the whole batch in several processes."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dgsct.ops.precision import at_least_float32
from dgsct.ops.recompute import done_again


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation of [M, C] whose running statistics move in the forward pass only, however often it is done."""

    def forward(self, x: Tensor) -> Tensor:
        """`x` [M, C] -> normalised, same shape."""
        if self.training and done_again():
            spare = (self.running_mean.clone(), self.running_var.clone())
            return F.batch_norm(x, *spare, self.weight, self.bias, True, self.momentum, self.eps)
        return super().forward(x)


class SharedBatchNorm(nn.Module):
    """The batch normalisation `norm`, with its parameters and buffers, over the shares of all processes of the run.

    Unlike torch's SyncBatchNorm it works on CPUs too, and knows a region that is done again.
    """

    def __init__(self, norm: nn.modules.batchnorm._BatchNorm) -> None:
        super().__init__()
        self.train(norm.training)
        self.eps, self.momentum = norm.eps, norm.momentum
        for name, parameter in norm.named_parameters():
            self.register_parameter(name, parameter)
        for name, buffer in norm.named_buffers():
            self.register_buffer(name, buffer)

    def forward(self, x: Tensor) -> Tensor:
        """`x` [M, C, ...] -> normalised, same shape."""
        if not self.training:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        from torch.distributed.nn.functional import all_reduce  # sums; in the backward pass it sums gradients

        channels, others = x.shape[1], [i for i in range(x.dim()) if i != 1]
        shape = [1, channels, *[1] * (x.dim() - 2)]
        values = at_least_float32(x)
        count = values.new_tensor([values.numel() / channels])
        sums = all_reduce(torch.cat((values.sum(others), count)))
        count = sums[-1].detach()
        mean = sums[:-1] / count
        centred = values - mean.view(shape)
        variance = all_reduce(centred.square().sum(others)) / count
        if not done_again():
            with torch.no_grad():
                self.num_batches_tracked += 1
                self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
                self.running_var.lerp_((variance * count / (count - 1)).to(self.running_var.dtype), self.momentum)
        scale = (variance + self.eps).rsqrt() * self.weight
        return (centred * scale.view(shape) + self.bias.view(shape)).to(x.dtype)


def share_batch_norms(model: nn.Module) -> None:
    """Let every batch normalisation below `model` see the whole batch of all processes; names and parameters stay."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.modules.batchnorm._BatchNorm):
                setattr(module, name, SharedBatchNorm(child))
