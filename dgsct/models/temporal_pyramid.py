"""Temporal attention on a pyramid of maps (eq. 7 as the segmentation settings' release builds it): one module a scale.

G_a, G_v = gates of the audio vector and of the scale's pooled map, from BiLSTMs and encoders over the T segments
x_i     <- x_i (1 + gamma G_a,i)                              audio gates vision
a       <- a (1 + gamma mean_i G_v,i)                         vision gates audio, after all scales
"""

import torch
from torch import Tensor, nn

from dgsct.models.attention import TemporalGate
from dgsct.models.temporal import Decoder, Encoder, unused_parameters
from dgsct.settings.options import Options
from dgsct.settings.scales import HeadSizes


class ScaleGates(nn.Module):
    """Both gates of one scale. The release also runs two cross-modal decoders and throws their results away; here they exist
    only, for counts and checkpoints."""

    def __init__(self, sizes: HeadSizes) -> None:
        super().__init__()
        self.visual_fc = nn.Linear(sizes.width, sizes.width)
        self.dropout = nn.Dropout(0.2)
        self.visual_rnn = nn.LSTM(sizes.width, sizes.visual_hidden // 2, batch_first=True, bidirectional=True)
        self.audio_rnn = nn.LSTM(sizes.audio_hidden, sizes.width // 2, batch_first=True, bidirectional=True)
        self.visual_encoder = Encoder(sizes.visual_hidden, sizes)
        self.audio_encoder = Encoder(sizes.width, sizes)
        self.visual_decoder = Decoder(sizes.visual_hidden, sizes)
        self.audio_decoder = Decoder(sizes.width, sizes)
        self.audio_gate = TemporalGate(sizes.width)
        self.visual_gate = TemporalGate(sizes.width)
        self.unused = unused_parameters(sizes)

    def forward(self, pooled: Tensor, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Pooled map [B, T, width], audio vector [B, T, audio_hidden] -> G_a, G_v [B, T, 1], each in (0, 1)."""
        sight = self.dropout(self.visual_fc(pooled).relu())
        sight = self.visual_encoder(self.visual_rnn(sight)[0].transpose(0, 1))
        sound = self.audio_encoder(self.audio_rnn(audio)[0].transpose(0, 1))
        return self.audio_gate(sound).transpose(0, 1), self.visual_gate(sight).transpose(0, 1)


class PyramidTemporalAttention(nn.Module):
    """Temporal gates at every scale of the pyramid; an absent direction (A2V or V2A off) leaves its stream as it is."""

    def __init__(self, levels: int, sizes: HeadSizes, options: Options) -> None:
        super().__init__()
        self.gamma_visual = options.gamma if options.A2V else 0.0
        self.gamma_audio = options.gamma if options.V2A else 0.0
        self.scales = nn.ModuleList(ScaleGates(sizes) for _ in range(levels))

    def forward(self, maps: list[Tensor], audio: Tensor) -> tuple[list[Tensor], Tensor]:
        """Maps, each [B T, width, k, k], and the audio vector [B, T, audio_hidden] -> both gated, same shapes."""
        gates = [
            scale(x.mean(dim=(2, 3)).view(*audio.shape[:2], -1), audio) for scale, x in zip(self.scales, maps, strict=True)
        ]
        gated = [x * (1 + self.gamma_visual * g.reshape(-1, 1, 1, 1)) for x, (g, _) in zip(maps, gates, strict=True)]
        return gated, audio * (1 + self.gamma_audio * torch.stack([g for _, g in gates]).mean(dim=0))
