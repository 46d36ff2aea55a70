"""Where paper and release disagree on DG-SCT itself."""

from dgsct.settings.ledger import Entry, pick

ENTRIES: tuple[Entry, ...] = (
    Entry(
        "residual", "paper, eq. 6; code, class `VisualAdapter`", "residual form",
        paper="(αM_c + βM_s + 1) ⊙ v (eq. 6)",
        release="(αM_c + βM_s + 1 − α) ⊙ x",
        effect="LN_before removes most of it; beside the constant, M_c weighs 0.43 instead of 0.3 and M_s 0.07 instead of 0.05",
        option="residual", values=pick("release", "paper", "release"),
        note="without C (Table 5) both forms are the same",
    ),
    Entry(
        "adapter-output", "paper, eq. 1-2 and 6; code, class `VisualAdapter`", "what Ω returns",
        paper="the attended features themselves",
        release="gate · LN(BN(up(ReLU(BN(down(LN(·))))))) of them, the gate starting at 0",
        effect="another class of functions; the paper's form would double the stream at the start",
        note="same in all protocols: the published parameter count holds the bottleneck",
    ),
    Entry(
        "latent-tokens", "paper, eq. 1-7; code, class `VisualAdapter`", "latent-token cross-attention",
        paper="not in eq. 1-7",
        release="always on, with 32 tokens",
        effect="part of every DG-SCT number, and all that is left in LAVisH* *inferred*",
        option="keep_tokens", values=pick(True, False, True),
        note="`off` skips them; their parameters stay in the counts, without a gradient",
    ),
    Entry(
        "audio-block", "paper, eq. 1-2; code, `DG-SCT/AVE/nets/net_trans.py`", "place of Ω in the audio block",
        paper="eq. 1 puts Ω between attention and MLP, as on the visual side",
        release="Ω¹ is added after the whole block, Ω² right after it",
        effect="both audio adapters are added behind the MLP, which never sees the Ω¹ of its own block",
        option="audio_block", values=pick("whole", "split", "whole"),
    ),
    Entry(
        "adapter-places", "paper, section 3; code, `DG-SCT/AVE/nets/net_trans.py`", "blocks with adapters",
        paper="every layer",
        release="12 of the 24 Swin blocks (every third of stage 2), all 12 HTS-AT blocks",
        effect="48 adapters; with a pair at each of the 24 Swin blocks it would be 96",
        note="same in all protocols: HTS-AT has 12 blocks to pair with, and the published parameter count fits 48",
    ),
    Entry(
        "temporal-place", "paper, eq. 7; code, `DG-SCT/AVE/nets`, keys `temporal_attn`", "temporal attention",
        paper="inside Ω, on the spatially and channel-wise attended features",
        release="once after pooling, on 256-d decoder outputs, gates from an LSTM and a 2-layer encoder",
        effect="T adds no parameters to LAVisH*; taking T away means γ = 0 *inferred*",
        note="same in all protocols: the authors confirm that T stands only at the end",
    ),
    Entry(
        "spatial-prompt", "paper, eq. 4; code, class `VisualAdapter`", "what spatial attention sees",
        paper="the full prompt map a′",
        release="the spatially averaged prompt",
        effect="no location of the prompt reaches M_s",
        option="spatial_prompt", values=pick("pooled", "map", "pooled"),
    ),
    Entry(
        "spatial-width", "paper, section 3; code, class `VisualAdapter`", "hidden size of S",
        paper="d = 256",
        release="d = C/2 of the stream (48 to 768)",
        effect="size of the spatial layers",
        note="same in all protocols: C/2 gives the published parameter count, 256 would give 453.3 M",
    ),
    Entry(
        "spatial-norm", "code, class `VisualAdapter`", "M_s and the LayerNorm behind it",
        paper="not discussed",
        release="a scale per token, followed by a LayerNorm that cancels it",
        effect="with C off, only the norm's ε lets M_s through to the stream; S acts through pooling, and with mean pooling "
        "(`paper`) hardly at all",
        note="same in all protocols: it follows from the bottleneck; reported beside Table 5",
    ),
    Entry(
        "pooling", "code, `DG-SCT/AVE/nets/net_trans.py`", "pooling of the last features",
        paper="not described",
        release="softmax(tanh s) of the last second-position adapters",
        effect="gives S most of its effect",
        option="pooling", values=pick("attention", "mean", "attention"),
        note="the paper is silent; mean is the plain reading *inferred*",
    ),
    Entry(
        "freeze-mode", "paper, section 3.1; code, `DG-SCT/AVE/main_trans.py`", "mode of the frozen encoders",
        paper="frozen",
        release="train mode while training: stochastic depth, SpecAugment, bn0 with batch statistics that drift",
        effect="part of the recipe, regularises; the saved audio encoder is no longer the AudioSet one",
        size="not known; it changes every number of DG-SCT and LAVisH*, and the audio encoder that is saved",
        option="freeze_mode", values=pick("train", "eval", "eval"),
        note="the paper names no mode; eval is the plain reading *inferred*. Evaluation is in eval mode with either value, "
        "with the bn0 statistics that training has left",
    ),
    Entry(
        "tiling", "paper, section 3.1; code, the loader of `DG-SCT/AVE`", "audio input of a segment",
        paper="mel-spectrogram of the segment",
        release="the second of sound is repeated ten times",
        effect="a periodic spectrogram at ten times the cost of its STFT; the image size stays",
        option="tile", values=pick(10, 1, 10),
        note="here two copies are analysed at most, since the other frames repeat; the spectrogram is that of all copies",
    ),
    Entry(
        "attention-relu", "paper, eq. 3-4; code, class `VisualAdapter`", "ReLU in eq. 3-4",
        paper="not stated",
        release="after every affine map but the two in front of a sigmoid",
        effect="unknown",
        note="same in all protocols: the paper is silent",
    ),
    Entry(
        "final-norm", "code, `DG-SCT/AVE/nets/net_trans.py`", "last LayerNorm of the encoders",
        paper="not stated",
        release="applied to Swin, skipped for HTS-AT",
        effect="scale of the audio feature",
        note="same in all protocols: the paper is silent",
    ),
    Entry(
        "table6-units", "paper, section 4.7 and Table 6", "units of Table 6",
        paper="percent and GFLOPs throughout",
        release="LAVisH's \"percent\" is the number of its trainable parameters in millions (counted: 10.04); so, *inferred*, "
        "is CMBS's (its public model has 13.54), and the 17.3 in the sums of the last two rows is that of the linear layers. "
        "GFLOPs fit multiply-accumulates of one 10 s clip for DG-SCT and LAVisH*, operations of one 1 s segment for CMBS, and "
        "no counting that was tried for LAVisH *inferred*",
        effect="the columns cannot be compared down the rows",
        size="LAVisH's share of trainable parameters is 4.2 % and not 10.1 (counted); CMBS's 5.9 % and not 14.4 *inferred*",
        note="same in all protocols: the rows that the harness counts are in one unit, with the published number beside it",
    ),
    Entry(
        "dead-parameters", "paper, section 4.7; counted on the code's model", "trainable parameters",
        paper="26.3 % are attention modules",
        release="4.74 M of the trainable parameters never get a gradient",
        effect="1.03 % of the total is dead",
        note="same in all protocols: the efficiency record holds both counts",
    ),
    Entry(
        "table8-row1", "paper, appendix D and Table 8", "first row of Table 8",
        paper="no cross-modal connections",
        release="its numbers are those of LAVisH*, which keeps cross-attention through tokens *inferred*",
        effect="the row is a baseline with a cross-modal path",
        note="same in all protocols: the row is LAVisH*; `A2V`, `V2A` and `keep_tokens` off give the literal reading "
        "*inferred*, under which the encoders do not see each other; the temporal module and the head join both streams in "
        "any case",
    ),
    Entry(
        "alpha-beta-gamma", "paper, appendix D and Figure 8; code, class `VisualAdapter`", "α, β, γ",
        paper="hyper-parameters, 0.3, 0.05, 0.1 on AVE",
        release="literals in the code; the command-line options are read nowhere",
        effect="none at the published values",
        note="same in all protocols: here they are real options with the published values",
    ),
    Entry(
        "equation-number", "paper, eq. 1-2", "number of eq. 2",
        paper="the second line of eq. 1 is counted but carries no number of its own",
        release="–",
        effect="none",
        note="same in all protocols: a matter of citing; here `eq. 2` is that line",
    ),
    Entry(
        "numerics", "code, `DG-SCT/AVE/main_trans.py`", "numeric environment",
        paper="not stated",
        release="fp32 without autocast, cudnn benchmark on; convolutions may use TF32 on an A100 *inferred*",
        effect="relative differences of about 1e-3 where TF32 is used",
        option="precision", values=pick("fp32", "fp32", "fp32"),
        note="TF32 and cudnn benchmark are off in every protocol, so that tests of parity mean something; `bf16` is offered "
        "as a switch (autocast, with the spectrogram and the losses in fp32)",
    ),
)  # fmt: skip
