"""Where paper and release disagree on AVS (S4 and MS3): data, recipe, measures, model."""

from dgsct.settings.ledger import Entry, pick

S4, MS3 = ("avs-s4",), ("avs-ms3",)
AVS = (*S4, *MS3)

ENTRIES: tuple[Entry, ...] = (
    Entry(
        "avs-selection", "code, `avs_scripts`", "model selection on AVS",
        paper="not stated",
        release="the epoch of the best mIoU on the test split, the first of equals; so does LAVisH, while AVSBench itself "
        "selects on the validation split",
        effect="optimistic, most of all on MS3, where the best of 30 epochs is chosen by 64 test clips",
        option="selection", values=pick("test", "val", "val"), tasks=AVS,
        note="the paper is silent; the validation split is what a reader assumes *inferred*. Test metrics in a record are "
        "those of the selected epoch. The baseline AVS is selected on the validation split in all protocols, as in its own "
        "code",
    ),
    Entry(
        "avs-measure", "paper, section 4 and Table 3; code, `avs_scripts`", "mIoU and F-score of AVS",
        paper="M_J and M_F, means over the whole data set",
        release="means over test batches of 4 clips. In each batch the F curve is averaged over the frames with an object, and "
        "its best threshold is taken; a batch without any object counts as 0",
        effect="the F-score rises as batches get smaller; mIoU stays, unless the last batch is smaller",
        size="2.3 points of F-score on S4 and 1.9 on MS3 between `batch4` and `frame` (DG-SCT at mini scale, seed 0, "
        "2026-11-30); not known at full size",
        option="f_protocol", values=pick("batch4", "frame", "frame"), tasks=AVS,
        note="`frame` gives every frame with an object the same weight and one threshold for all of them; `clip` is batches of "
        "one clip, as in the release's validation during training. Every record holds all three, and batches are "
        "taken in the test split's own order",
    ),
    Entry(
        "avs-accumulation", "code, `avs_scripts`", "gradient accumulation on AVS",
        paper="batch size 8 (S4) and 2 (MS3)",
        release="none: a step for every batch, the smaller last one included",
        effect="432 steps in an epoch of S4, 148 in one of MS3",
        option="accumulation", values=pick("off", "off", "off"), tasks=AVS,
        note="the quirk of the AVE script is not in these",
    ),
    Entry(
        "avs-gamma", "code, `avs_scripts/avs_ms3`, the test script", "γ of MS3",
        paper="0.1",
        release="0.1 in training; the test script passes 0.05, which belongs to another checkpoint",
        effect="a loaded model loses if γ is the wrong one",
        tasks=MS3,
        note="same in all protocols: γ is the run's own, in training and evaluation; `dgsct evaluate --set gamma=0.05` gives "
        "the script's",
    ),
    Entry(
        "avs-hyper-parameters", "paper, section 4; code, `avs_scripts`", "α, β, learning rate and batch size of AVS",
        paper="S4 0.3, 0.05, 3e-4, 8; MS3 0.2, 0.1, 1.5e-4, 2",
        release="the same",
        effect="none",
        tasks=AVS,
        note="same in all protocols: paper and release agree",
    ),
    Entry(
        "avs-tuning", "code, `avs_scripts/avs_ms3`, comments of the model", "choice of the hyper-parameters of AVS",
        paper="not stated",
        release="comments beside them note scores, which are the test split's",
        effect="MS3 is optimistic by more than its selected epoch",
        size="0.9 points of mIoU on MS3: comments of the code note 52.5 and 52.6 for other values and 53.46 for the published "
        "ones, on the test split",
        tasks=AVS,
        note="same in all protocols: the published values are what is reproduced; values chosen on the validation split would "
        "be others",
    ),
    Entry(
        "avs-recipe", "code, `avs_scripts`", "epochs, optimiser and seed of AVS",
        paper="not stated",
        release="15 epochs (S4), 30 (MS3), Adam without decay at a constant rate, seed 123, one run, no determinism flags",
        effect="one run without a spread",
        tasks=AVS,
        note="same in all protocols: the release's epochs and optimiser; seeds 0 to n−1 instead of 123, to show a spread. At "
        "mini scale the rate is higher, as there are few steps",
    ),
    Entry(
        "avs-early-stop", "code, `avs_scripts`", "early stop and weight decay of AVS",
        paper="–",
        release="options for both (5 epochs, 5e-4) without effect: the counter is reset in every epoch, and the optimiser is "
        "not given the decay",
        effect="none",
        tasks=AVS,
        note="same in all protocols: omitted, every epoch is trained",
    ),
    Entry(
        "avs-input-size", "code, `avs_scripts`", "size of the frames of AVS",
        paper="not stated",
        release="224×224 frames, resized to 192×192 (bicubic, no antialiasing) in front of the encoder; masks stay at 224×224",
        effect="masks are finer than what the encoder sees",
        tasks=AVS,
        note="same in all protocols: prepared frames have the data set's own size, and the model resizes them",
    ),
    Entry(
        "avs-first-rows", "paper, appendix D, Tables 5 and 8", "first row of Tables 5 and 8 on AVS",
        paper="no module, no cross-modal connections",
        release="not in the code; its numbers are those of LAVisH*, whose latent tokens see the other stream *inferred*",
        effect="the baseline has a cross-modal path",
        tasks=AVS,
        note="same in all protocols: the row is LAVisH*, as on AVE (table8-row1), where the literal reading is given too",
    ),
    Entry(
        "avs-classes", "paper, Table 7", "categories of MS3",
        paper="23",
        release="–",
        effect="none: nothing is classified",
        tasks=MS3,
        note="same in all protocols: a matter of text; 21 are found in the data set's metadata",
    ),
    Entry(
        "avs-table7", "paper, Table 7", "size of the data set (Table 7)",
        paper="5,356 videos, 12,972 annotated frames",
        release="–",
        effect="none",
        tasks=AVS,
        note="same in all protocols: recounted from the metadata, 4,932 + 424 videos and 10,852 + 2,120 frames; in training "
        "clips of S4 only the first frame counts",
    ),
    Entry(
        "avs-masks", "code, `avs_scripts`, the loaders", "how a mask is read",
        paper="binary masks",
        release="converted to one bit (S4) or to a palette index (MS3); what comes out depends on how the file is stored",
        effect="none for black and white files; a coloured file would be dithered or read as an arbitrary value",
        tasks=AVS,
        note="same in all protocols: a pixel counts where any channel is not 0, and a file that the release would read "
        "otherwise is refused at preparation",
    ),
    Entry(
        "avs-media", "code, `avs_scripts`, the loaders; OpenNLPLab/AVSBench", "frames and sound of AVS from video",
        paper="5 frames of a 5 s clip",
        release="reads ready-made pictures and `AVS.npy`, whose making is not released; VGGish examples are 0.96 s long, so "
        "the k-th is not the k-th second; 14 clips of S4 give 4 frames by the rule, where 5 are published",
        effect="small differences in pixels and samples",
        tasks=AVS,
        note="same in all protocols: sound is averaged to mono at 32 kHz and cut or padded to 5 s *inferred*; where a frame is "
        "missing the last one is repeated *inferred*",
    ),
    Entry(
        "avs-leakage", "the data set's metadata", "videos in two splits of MS3",
        paper="–",
        release="38 of the 64 test clips are cut from a video that also supplies training clips",
        effect="optimistic",
        tasks=MS3,
        note="same in all protocols: kept, because the published splits are the benchmark; records also hold the mIoU without "
        "such clips (`miou_unseen_ids`)",
    ),
    Entry(
        "avs-audio-encoder", "paper, section 3.1; code, `avs_scripts/avs_s4`", "HTS-AT in S4",
        paper="frozen",
        release="trained whole (28.6 M parameters with a gradient), its Fourier kernels and mel matrix included: only names "
        "with `swin` in them are frozen",
        effect="more is trained than counted as additional; after a step nearly half of the mel matrix is negative",
        size="28.6 M parameters that are trained and not counted; in mIoU not known",
        option="audio_encoder", values=pick("trained", "frozen", "frozen"), tasks=S4,
        note="while it is trained, the spectrogram is made from the wave in every step, by the kernels as they are",
    ),
    Entry(
        "avs-audio-encoder-ms3", "paper, section 3.1; code, `avs_scripts/avs_ms3`", "HTS-AT in MS3",
        paper="frozen",
        release="frozen",
        effect="none",
        option="audio_encoder", values=pick("frozen", "frozen", "frozen"), tasks=MS3,
        note="the fault of S4 is not in this script; `trained` is what it would do",
    ),
    Entry(
        "avs-freeze-mode", "paper, section 3.1; code, `avs_scripts`", "mode of the frozen encoders on AVS",
        paper="[as for all tasks](#freeze-mode)",
        release="the same",
        effect="the same",
        option="freeze_mode", values=pick("train", "eval", "eval"), tasks=AVS,
        note="the same",
    ),
    Entry(
        "avs-mixup", "code, `avs_scripts`", "mixed spectrograms",
        paper="not stated",
        release="in training the normalised spectrogram of each second is mixed with that of the mirrored place in the batch, "
        "weights from Beta(0.5, 0.5); masks and frames are not mixed",
        effect="every second sound is rather another clip's, so training teaches to mistrust the ears; absent in evaluation",
        size="11.7 points of mIoU on S4 (DG-SCT at an earlier mini scale, three seeds, 2026-12-01: 54.0 with it, 65.8 "
        "without; late fusion on MS3: 55.3 and 55.7); not known at full size",
        option="mixup", values=pick(True, False, False), tasks=AVS,
        note="happens in train mode only, so `freeze_mode=eval` takes it away where HTS-AT is frozen; off under every protocol "
        "at mini scale, where training is too short for it",
    ),
    Entry(
        "avs-residual", "paper, eq. 6; code, `avs_scripts`", "residual form on AVS",
        paper="[as for all tasks](#residual)",
        release="the same",
        effect="the stream is scaled down by up to α in front of the bottleneck, which has no norm in front of it on AVS",
        option="residual", values=pick("release", "paper", "release"), tasks=AVS,
    ),
    Entry(
        "avs-adapter-output", "paper, eq. 1-2 and 6; code, `avs_scripts`", "what Ω returns on AVS",
        paper="the attended features themselves",
        release="LN(gate · up(ReLU(down(·)))) of them, without the batch norms and the norm in front that AVE has; the gate "
        "exists on the visual side only and lies inside the norm, which leaves its sign",
        effect="another class of functions; the audio stream is changed by unit variance from the first step",
        tasks=AVS,
        note="same in all protocols: the published parameter count holds the bottleneck",
    ),
    Entry(
        "avs-latent-tokens", "paper, eq. 1-7; code, `avs_scripts`", "latent-token cross-attention on AVS",
        paper="[as for all tasks](#latent-tokens)",
        release="always on, with 32 tokens that start at zero",
        effect="the same",
        option="keep_tokens", values=pick(True, False, True), tasks=AVS,
    ),
    Entry(
        "avs-audio-block", "paper, eq. 1-2; code, `avs_scripts`", "place of Ω in the audio block on AVS",
        paper="[as for all tasks](#audio-block)",
        release="the same",
        effect="the same",
        option="audio_block", values=pick("whole", "split", "whole"), tasks=AVS,
    ),
    Entry(
        "avs-prompt", "paper, section 3; code, `avs_scripts`", "prompt projection on AVS",
        paper="a 2-D convolution and a linear map",
        release="S4: the linear map, then a bicubic resize of the token grid; the convolution over tokens exists and is "
        "unused. MS3: convolution over tokens and linear map",
        effect="81.2 M dead parameters in S4; neighbouring tokens stay neighbours",
        tasks=AVS,
        note="same in all protocols: the published parameter counts hold both",
    ),
    Entry(
        "avs-spatial-prompt", "paper, eq. 4; code, `avs_scripts`", "what spatial attention sees on AVS",
        paper="[as for all tasks](#spatial-prompt)",
        release="the same",
        effect="the same",
        option="spatial_prompt", values=pick("pooled", "map", "pooled"), tasks=AVS,
    ),
    Entry(
        "avs-spatial-width", "paper, section 3; code, `avs_scripts`", "hidden size of S on AVS",
        paper="[as for all tasks](#spatial-width)",
        release="the same",
        effect="the same",
        tasks=AVS,
        note="same in all protocols: C/2 gives the published parameter count",
    ),
    Entry(
        "avs-pooling", "code, `avs_scripts`", "pooling of the audio vector",
        paper="not described",
        release="softmax(tanh s) of the last audio adapter; no final norm of HTS-AT",
        effect="gives S more of an effect",
        option="pooling", values=pick("attention", "mean", "attention"), tasks=AVS,
        note="the paper is silent; mean is the plain reading *inferred*, and what is left without S",
    ),
    Entry(
        "avs-temporal-place", "paper, eq. 7; code, `avs_scripts`", "temporal attention on AVS",
        paper="in the last DG-SCT layer",
        release="behind the projection of the pyramid, at each scale a BiLSTM and a 2-layer encoder for both modalities; two "
        "decoders a scale are computed and thrown away",
        effect="23.95 M parameters without use",
        tasks=AVS,
        note="same in all protocols: the published parameter count holds them; here the decoders exist and are not computed",
    ),
    Entry(
        "avs-tiling", "paper, section 3.1; code, `avs_scripts`", "audio input of a segment on AVS",
        paper="mel-spectrogram of the segment",
        release="the second of sound is repeated five times",
        effect="a periodic spectrogram",
        option="tile", values=pick(5, 1, 5), tasks=AVS,
    ),
    Entry(
        "avs-reduction", "code, `avs_scripts`", "reduction of the adapters and latent tokens on AVS",
        paper="not stated",
        release="reduction 8 in S4 and 2 in MS3 (a default nobody sets), 32 tokens",
        effect="8.1 M more parameters in MS3",
        tasks=AVS,
        note="same in all protocols: a size of each setting",
    ),
    Entry(
        "avs-decoder", "paper, section 4; code, `avs_scripts`", "the original AVS model",
        paper="combined with the original AVS model",
        release="its TPAVI and decoder; its image encoder and ASPP are built, saved and unused, and linear projections to 256 "
        "channels stand in their place",
        effect="91 M dead parameters",
        tasks=AVS,
        note="same in all protocols: they keep counts and checkpoints exact",
    ),
    Entry(
        "avs-decoder-relu", "code, `avs_scripts`; OpenNLPLab/AVSBench", "ReLU of the decoder",
        paper="not stated",
        release="works in place on TPAVI's outputs: residual units add ReLU(x), and the loss of MS3 sees the same",
        effect="other numbers than a decoder that adds x",
        tasks=AVS,
        note="same in all protocols: it is the published decoder of AVSBench",
    ),
    Entry(
        "avs-loss", "code, `avs_scripts`", "losses of AVS",
        paper="not stated",
        release="binary cross-entropy over the first frame (S4) or all frames (MS3)",
        effect="of a training clip of S4 four frames teach nothing",
        tasks=AVS,
        note="same in all protocols: the paper is silent; which second term is added, the next two entries say",
    ),
    Entry(
        "avs-loss-term", "code, `avs_scripts/avs_ms3`", "second loss term of MS3",
        paper="not stated",
        release="0.5 · KL between sound and the features under the predicted mask, summed over frames and channels",
        effect="it grows with the batch",
        option="av_weight", values=pick(0.5, 0.5, 0.5), tasks=MS3,
        note="the paper is silent; the publication of AVSBench has the same term",
    ),
    Entry(
        "avs-loss-term-s4", "code, `avs_scripts/avs_s4`", "second loss term of S4",
        paper="not stated",
        release="offered in another form, and off",
        effect="none",
        option="av_weight", values=pick(0.0, 0.0, 0.0), tasks=S4,
        note="here another weight adds MS3's form; the release's other form does not exist",
    ),
    Entry(
        "avs-directions", "paper, Table 8", "Table 8 on AVS",
        paper="A2V or V2A alone",
        release="not in the code",
        effect="a row without one direction",
        tasks=AVS,
        note="same in all protocols: the adapters of a direction that is off are absent, and its temporal gate with them "
        "*inferred*; on AVE they lose S and C only. With both off the encoders do not see each other",
    ),
)  # fmt: skip
