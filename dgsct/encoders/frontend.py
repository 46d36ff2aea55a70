"""HTS-AT's fixed front end: power spectrogram, Slaney mel filters, decibels.

A one-second segment is *tiled* before it is analysed (the release repeats it ten times). The tiled signal is periodic,
so all but a few edge frames of its spectrogram repeat with the second: two copies are analysed and the rest is an
index (`expand_index`), which gives the same frames for a fifth of the work.
"""

import math
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dgsct.ops.precision import full_precision
from dgsct.settings.scales import HtsatSizes

AMIN = 1e-10


def frames_per_second(sizes: HtsatSizes) -> int:
    """Spectrogram frames in one second (100 at paper scale); the hop divides the sample rate."""
    if sizes.sample_rate % sizes.hop:
        raise ValueError(f"hop {sizes.hop} must divide the sample rate {sizes.sample_rate}")
    return sizes.sample_rate // sizes.hop


def compact_copies(tile: int) -> int:
    """How many copies of the second must be analysed to know every frame of `tile` copies."""
    return min(tile, 2)


def expand_index(sizes: HtsatSizes, tile: int) -> Tensor:
    """[tile * period + 1] int64: for each frame of the tiled second, its place among the compact frames."""
    period, copies = frames_per_second(sizes), compact_copies(tile)
    edge = math.ceil(sizes.n_fft / 2 / sizes.hop)
    frame = torch.arange(tile * period + 1)
    last = tile * period
    index = edge + (frame - edge) % period
    index = torch.where(frame < edge, frame, index)
    index = torch.where(frame > last - edge, copies * period - (last - frame), index)
    return frame if copies == tile else index


def mel_filters(sizes: HtsatSizes) -> Tensor:
    """[n_fft / 2 + 1, mel_bins] float32 Slaney-scale, area-normalised triangles between f_min and f_max (Hz)."""
    # Imported here: torchaudio refuses to import beside another torch build, and only this matrix needs it.
    from torchaudio.functional import melscale_fbanks

    bins = sizes.n_fft // 2 + 1
    wanted, precision = torch.get_default_device(), torch.get_default_dtype()
    try:
        # torchaudio computes in the default precision, and float32 would cost the matrix its last digits; it also
        # indexes by value, which the meta device cannot.
        torch.set_default_dtype(torch.float64)
        with torch.device("cpu"):
            filters = melscale_fbanks(bins, sizes.f_min, sizes.f_max, sizes.mel_bins, sizes.sample_rate, "slaney", "slaney")
    finally:
        torch.set_default_dtype(precision)
    return filters.float().to(wanted)


class LogMel(nn.Module):
    """Log-mel spectrogram with the tensors that the public checkpoint stores.

    `conv_real`, `conv_imag` [n_fft/2+1, 1, n_fft] are the windowed Fourier kernels of the release's two frozen
    convolutions; with `as_convolution` they are used as such (the release's order of operations), otherwise an FFT computes
    the same numbers. While kernels and mel matrix are trained (`requires_grad`) they are products with the distinct frames.
    """

    def __init__(self, sizes: HtsatSizes, as_convolution: bool = False) -> None:
        super().__init__()
        self.sizes = sizes
        self.as_convolution = as_convolution
        n_fft = sizes.n_fft
        window = torch.hann_window(n_fft, periodic=True, dtype=torch.float64)
        phase = torch.outer(torch.arange(n_fft // 2 + 1), torch.arange(n_fft)).double() * (2 * math.pi / n_fft)
        self.conv_real = nn.Parameter((torch.cos(phase) * window).float().unsqueeze(1), requires_grad=False)
        self.conv_imag = nn.Parameter((-torch.sin(phase) * window).float().unsqueeze(1), requires_grad=False)
        self.mel = nn.Parameter(mel_filters(sizes), requires_grad=False)
        self.register_buffer("window", window.float(), persistent=False)

    @property
    def trained(self) -> bool:
        """Whether kernels and mel matrix are themselves trained."""
        return self.conv_real.requires_grad

    def power(self, wave: Tensor) -> Tensor:
        """`wave` [B, samples] -> power spectrogram [B, frames, n_fft/2+1], centred with reflection."""
        n_fft, hop = self.sizes.n_fft, self.sizes.hop
        if self.as_convolution:
            padded = F.pad(wave.unsqueeze(1), (n_fft // 2, n_fft // 2), mode="reflect")
            real = F.conv1d(padded, self.conv_real, stride=hop)
            imag = F.conv1d(padded, self.conv_imag, stride=hop)
            return (real.square() + imag.square()).transpose(1, 2)
        # The window is recomputed in the input's precision: a float32 window would cost float64 its last digits.
        window = self.window if wave.dtype == torch.float32 else torch.hann_window(n_fft, dtype=wave.dtype)
        spectrum = torch.stft(
            wave, n_fft, hop, window=window.to(wave.device), center=True, pad_mode="reflect", return_complex=True
        )
        return (spectrum.real.square() + spectrum.imag.square()).transpose(1, 2)

    def trained_power(self, second: Tensor, copies: int, only: Tensor) -> Tensor:
        """The frames `only` [F] int64 of the `power` of `copies` copies of a second [B, samples], by the kernels as they are:
        products with windows, cut from the second itself."""
        n_fft, hop, period = self.sizes.n_fft, self.sizes.hop, second.shape[1]
        last = copies * period - 1
        place = (only[:, None] * hop + torch.arange(n_fft, device=only.device) - n_fft // 2).abs()
        place = (last - (last - place).abs()) % period  # reflected at both ends
        parts = second[:, place] @ torch.cat((self.conv_real, self.conv_imag)).squeeze(1).t()
        return parts.square().unflatten(2, (2, -1)).sum(dim=2)

    def decibels(self, power: Tensor) -> Tensor:
        """Power spectrogram [B, frames, n_fft/2+1] -> log-mel [B, frames, mel_bins] in dB re 1, floor -100 dB."""
        return 10.0 * torch.log10((power @ self.mel).clamp(min=AMIN))

    def forward(self, wave: Tensor) -> Tensor:
        """`wave` [B, samples] -> log-mel [B, frames, mel_bins]; never in reduced precision."""
        with full_precision(wave):
            return self.decibels(self.power(wave))

    def tiled(self, second: Tensor, tile: int) -> Tensor:
        """Log-mel [B, tile * period + 1, mel_bins] of `second` [B, samples] repeated `tile` times."""
        if self.as_convolution:
            return self(second.repeat(1, tile))
        copies, index = compact_copies(tile), expand_index(self.sizes, tile)
        if not self.trained:
            return self(second.repeat(1, copies))[:, index.to(second.device)]
        # Before it goes to the device: how many frames are distinct follows from their values, which a model on meta has not.
        distinct, place = (part.to(second.device) for part in index.unique(return_inverse=True))
        with full_precision(second):
            return self.decibels(self.trained_power(second, copies, distinct))[:, place]


@cache
def _front(sizes: HtsatSizes) -> LogMel:
    """One front end a process: its kernels and filters cost five times what a clip's spectrum does."""
    return LogMel(sizes)


def log_mel_compact(wave: Tensor, sizes: HtsatSizes, tile: int) -> Tensor:
    """Compact log-mel frames [n, F, mel_bins] (dB, float32) of seconds `wave` [n, samples]; see `expand_index`."""
    with torch.no_grad():
        return _front(sizes)(wave.repeat(1, compact_copies(tile)))
