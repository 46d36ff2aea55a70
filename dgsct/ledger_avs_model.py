"""Deviations of AVS (S4 and MS3) in the model and its losses. Sources are rows of its fact sheet."""

from dgsct.ledger import Entry, pick
from dgsct.options import AVS

S4 = AVS[:1]

ENTRIES: tuple[Entry, ...] = (
    Entry(
        "avs-audio-encoder", "avs 7.2", "HTS-AT in S4",
        paper="frozen",
        release="trained whole (28.6 M parameters with a gradient), its Fourier kernels and mel matrix included: only names "
        "with `swin` in them are frozen. In MS3 it is frozen",
        effect="more is trained than counted as additional; after a step nearly half of the mel matrix is negative",
        option="audio_encoder", values=pick("trained", "frozen", "frozen"), tasks=S4,
        note="while it is trained, the spectrogram is made from the wave in every step, by the kernels as they are",
    ),
    Entry(
        "avs-freeze-mode", "avs 7.3", "mode of the frozen encoders on AVS",
        paper="frozen",
        release="train mode while training: stochastic depth, SpecAugment, bn0 with batch statistics that drift",
        effect="part of the recipe, regularises; the saved audio encoder is no longer the AudioSet one",
        option="freeze_mode", values=pick("train", "eval", "eval"), tasks=AVS,
        note="the paper names no mode; eval is the plain reading *inferred*. Evaluation is in eval mode with either value",
    ),
    Entry(
        "avs-mixup", "avs 1.3", "mixed spectrograms",
        paper="not stated",
        release="in training the normalised spectrogram of each second is mixed with that of the mirrored place in the batch, "
        "weights from Beta(0.5, 0.5); masks and frames are not mixed",
        effect="a second is heard with another clip's sound behind it; absent in evaluation",
        option="mixup", values=pick(True, False, False), tasks=AVS,
        note="happens in train mode only, so `freeze_mode=eval` takes it away where HTS-AT is frozen",
    ),
    Entry(
        "avs-residual", "avs 7.4", "residual form on AVS",
        paper="(αM_c + βM_s + 1) ⊙ v (eq. 6)",
        release="(αM_c + βM_s + 1 − α) ⊙ x",
        effect="the stream is scaled down by up to α in front of the bottleneck, which has no norm in front of it on AVS",
        option="residual", values=pick("release", "paper", "release"), tasks=AVS,
    ),
    Entry(
        "avs-adapter-output", "avs 7.5", "what Ω returns on AVS",
        paper="the attended features themselves",
        release="LN(gate · up(ReLU(down(·)))) of them, without the batch norms and the norm in front that AVE has; the gate "
        "exists on the visual side only and lies inside the norm, which leaves its sign",
        effect="another class of functions; the audio stream is changed by unit variance from the first step",
        tasks=AVS,
        note="same in all protocols: the published parameter count holds the bottleneck",
    ),
    Entry(
        "avs-latent-tokens", "avs 3.3", "latent-token cross-attention on AVS",
        paper="not in eq. 1-7",
        release="always on, with 32 tokens that start at zero",
        effect="part of every number, and all that is left in LAVisH* *inferred*",
        option="keep_tokens", values=pick(True, False, True), tasks=AVS,
        note="`off` skips them; their parameters stay in the counts, without a gradient",
    ),
    Entry(
        "avs-audio-block", "avs 7.6", "place of Ω in the audio block on AVS",
        paper="eq. 1 puts Ω between attention and MLP, as on the visual side",
        release="Ω¹ is added after the whole block, Ω² right after it",
        effect="both audio adapters are added behind the MLP",
        option="audio_block", values=pick("whole", "split", "whole"), tasks=AVS,
    ),
    Entry(
        "avs-prompt", "avs 7.7", "prompt projection on AVS",
        paper="a 2-D convolution and a linear map",
        release="S4: the linear map, then a bicubic resize of the token grid; the convolution over tokens exists and is "
        "unused. MS3: convolution over tokens and linear map",
        effect="81.2 M dead parameters in S4; neighbouring tokens stay neighbours",
        tasks=AVS,
        note="same in all protocols: the published parameter counts hold both",
    ),
    Entry(
        "avs-spatial-prompt", "avs 7.8", "what spatial attention sees on AVS",
        paper="the full prompt map a′",
        release="the spatially averaged prompt",
        effect="no location of the prompt reaches M_s",
        option="spatial_prompt", values=pick("pooled", "map", "pooled"), tasks=AVS,
    ),
    Entry(
        "avs-spatial-width", "avs 7.9", "hidden size of S on AVS",
        paper="d = 256",
        release="d = C/2 of the stream (48 to 768)",
        effect="size of the spatial layers",
        tasks=AVS,
        note="same in all protocols: C/2 gives the published parameter count",
    ),
    Entry(
        "avs-pooling", "avs 3.1", "pooling of the audio vector",
        paper="not described",
        release="softmax(tanh s) of the last audio adapter; no final norm of HTS-AT",
        effect="gives S more of an effect",
        option="pooling", values=pick("attention", "mean", "attention"), tasks=AVS,
        note="the paper is silent; mean is the plain reading *inferred*, and what is left without S",
    ),
    Entry(
        "avs-temporal-place", "avs 7.10", "temporal attention on AVS",
        paper="in the last DG-SCT layer",
        release="behind the projection of the pyramid, at each scale a BiLSTM and a 2-layer encoder for both modalities; two "
        "decoders a scale are computed and thrown away",
        effect="23.95 M parameters without use",
        tasks=AVS,
        note="same in all protocols: the published parameter count holds them; here the decoders exist and are not computed",
    ),
    Entry(
        "avs-tiling", "avs 2.6", "audio input of a segment on AVS",
        paper="mel-spectrogram of the segment",
        release="the second of sound is repeated five times",
        effect="a periodic spectrogram",
        option="tile", values=pick(5, 1, 5), tasks=AVS,
    ),
    Entry(
        "avs-reduction", "avs 7.14", "reduction of the adapters and latent tokens on AVS",
        paper="not stated",
        release="reduction 8 in S4 and 2 in MS3 (a default nobody sets), 32 tokens",
        effect="8.1 M more parameters in MS3",
        tasks=AVS,
        note="same in all protocols: a size of each setting",
    ),
    Entry(
        "avs-decoder", "avs 7.15", "the original AVS model",
        paper="combined with the original AVS model",
        release="its TPAVI and decoder; its image encoder and ASPP are built, saved and unused, and linear projections to 256 "
        "channels stand in their place",
        effect="91 M dead parameters",
        tasks=AVS,
        note="same in all protocols: they keep counts and checkpoints exact",
    ),
    Entry(
        "avs-decoder-relu", "avs 1.5", "ReLU of the decoder",
        paper="not stated",
        release="works in place on TPAVI's outputs: residual units add ReLU(x), and the loss of MS3 sees the same",
        effect="other numbers than a decoder that adds x",
        tasks=AVS,
        note="same in all protocols: it is the published decoder of AVSBench",
    ),
    Entry(
        "avs-loss", "avs 4", "losses of AVS",
        paper="not stated",
        release="binary cross-entropy over the first frame (S4) or all frames (MS3); MS3 adds 0.5 · KL between sound and the "
        "features under the predicted mask, summed over frames and channels",
        effect="the second term grows with the batch",
        tasks=AVS,
        note="same in all protocols: the paper is silent; `av_weight` scales the second term",
    ),
    Entry(
        "avs-directions", "avs 10", "Table 8 on AVS",
        paper="A2V or V2A alone",
        release="not in the code",
        effect="a row without one direction",
        tasks=AVS,
        note="same in all protocols: the adapters of a direction that is off are absent, and its temporal gate with them "
        "*inferred*; on AVE they lose S and C only. With both off the encoders do not see each other",
    ),
)  # fmt: skip
