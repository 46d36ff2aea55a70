"""Golden values of temporal attention and of the AVE head on top of it (float64, full size)."""

import pytest
import torch
from golden_rig import assert_golden, fill, wave_cos, wave_sin

from dgsct.models.heads.events import EventHead, EventOutput, decode
from dgsct.models.keys import head_keys, temporal_keys
from dgsct.models.temporal import Gated, TemporalAttention
from dgsct.settings.scales import PAPER
from dgsct.tasks.ave.options import AveOptions as Options


def load(module, keys):
    state = module.double().state_dict()
    for public, (ours, layout) in keys.items():
        state[ours] = layout.ours(fill(public, tuple(layout.public(state[ours]).shape), 0.05))
    module.load_state_dict(state)
    return module.eval()


@pytest.fixture(scope="module")
def temporal():
    return load(TemporalAttention(1536, 768, PAPER.head, Options()), temporal_keys())


@pytest.fixture(scope="module")
def head():
    return load(EventHead(PAPER.head, Options(), 28), head_keys())


@pytest.fixture(scope="module")
def features():
    return wave_sin((2, 10, 1536), 1.0, 0.13, 0.2), wave_cos((2, 10, 768), 1.0, 0.17, 0.4)


def test_counts_and_entries(temporal, head):
    assert sum(p.numel() for p in temporal.parameters()) == 12_071_554
    assert sum(p.numel() for p in temporal.unused.parameters()) == 4_211_712
    assert sum(p.numel() for p in head.parameters()) == 550_229
    assert set(temporal.state_dict()) == {ours for ours, _ in temporal_keys().values()}
    assert set(head.state_dict()) == {ours for ours, _ in head_keys().values()}
    assert (len(temporal_keys()), len(head_keys())) == (168, 24)


def test_inside(temporal, features):
    visual, audio = features
    sound, sight = temporal.audio_fc(audio), temporal.visual_fc(visual)
    assert_golden(
        sound, 0.001177, 0.178105, "0.254764 -0.043730 -0.192035 0.061661 0.278195 0.072219 -0.232887 -0.149050", (2, 10, 128)
    )
    assert_golden(
        sight, 0.000236, 0.140888, "-0.115030 0.209866 -0.100571 0.167928 -0.056722 0.057470 0.003197 -0.076449", (2, 10, 512)
    )
    sound, sight = temporal.audio_rnn(sound)[0], temporal.visual_rnn(sight.relu())[0]
    assert_golden(
        sound, -0.000440, 0.069662, "-0.019702 -0.008235 -0.025204 0.024332 -0.022829 0.050691 -0.018373 0.062554", (2, 10, 256)
    )
    assert_golden(
        sight, -0.012737, 0.115696, "-0.072132 -0.000108 0.073442 0.085905 0.042001 -0.027298 -0.059902 -0.026457", (2, 10, 512)
    )
    e_v, e_a = temporal.visual_encoder(sight.transpose(0, 1)), temporal.audio_encoder(sound.transpose(0, 1))
    assert_golden(
        e_v, 0.004354, 1.009702, "0.774199 -0.000661 0.555478 1.809136 0.225865 -1.350651 -0.313763 -0.403652", (10, 2, 256)
    )
    assert_golden(
        e_a, 0.004282, 1.009548, "1.257499 0.071617 0.210236 1.370690 0.106334 -1.056285 0.071233 -0.382666", (10, 2, 256)
    )
    assert_golden(
        temporal.audio_gate(e_a),
        0.237412,
        0.000957,
        "0.235498 0.235536 0.237026 0.237039 0.237731 0.237707 0.238055 0.238033",
        (10, 2, 1),
    )
    assert_golden(
        temporal.visual_gate(e_v),
        0.232670,
        0.000928,
        "0.230434 0.230431 0.232118 0.232137 0.232889 0.232890 0.233234 0.233245",
        (10, 2, 1),
    )


def test_gated_segments(temporal, features):
    gated = temporal(*features)
    assert_golden(
        gated.visual,
        0.001112,
        1.028049,
        "0.812681 0.675834 1.043784 1.716619 0.309249 -1.396178 -1.111033 -0.927873",
        (10, 2, 256),
    )
    assert_golden(
        gated.audio,
        0.000960,
        1.027437,
        "1.486109 0.739848 0.522249 1.106710 0.114897 -1.092684 -0.662262 -0.864016",
        (10, 2, 256),
    )
    assert_golden(
        gated.gate, 0.055239, 0.000438, "0.054267 0.054275 0.055018 0.055025 0.055365 0.055360 0.055522 0.055520", (10, 2, 1)
    )


def test_segments_before_gating(temporal, features):
    ungated = TemporalAttention(1536, 768, PAPER.head, Options(T=False)).double().eval()
    ungated.load_state_dict(temporal.state_dict())
    visual, audio, _ = ungated(*features)
    assert_golden(
        visual,
        0.001086,
        1.004208,
        "0.793983 0.660284 1.019769 1.677123 0.302134 -1.364055 -1.085471 -0.906524",
        (10, 2, 256),
    )
    assert_golden(
        audio,
        0.000938,
        1.004076,
        "1.452636 0.723183 0.510485 1.081782 0.112309 -1.068072 -0.647345 -0.844554",
        (10, 2, 256),
    )


def test_float32_deviates_little(temporal, features):
    exact = temporal(*features)
    single = TemporalAttention(1536, 768, PAPER.head, Options())
    single.load_state_dict(temporal.state_dict())
    for rough, value in zip(single.eval()(*(f.float() for f in features)), exact, strict=True):
        assert (rough - value).abs().max() <= 2e-6


@pytest.mark.parametrize(
    ("options", "visual_gated", "audio_gated"),
    [({"T": False}, False, False), ({"A2V": False}, False, True), ({"V2A": False}, True, False)],
)
def test_switches_leave_their_stream_ungated(temporal, features, options, visual_gated, audio_gated):
    module = TemporalAttention(1536, 768, PAPER.head, Options(**options)).double().eval()
    module.load_state_dict(temporal.state_dict())
    gated, full = module(*features), temporal(*features)
    assert torch.equal(gated.visual, full.visual) == visual_gated
    assert torch.equal(gated.audio, full.audio) == audio_gated
    torch.testing.assert_close(gated.gate, full.gate)


def test_head_alone(head):
    gated = Gated(wave_sin((10, 2, 256), 1.0, 0.13, 0.2), wave_cos((10, 2, 256), 1.0, 0.17, 0.4), torch.zeros(10, 2, 1))
    out = head(gated)
    assert_golden(
        out.relevance.t(), -0.026621, 0.081095, "0.017965 -0.151069 -0.070995 0.026945 -0.107054 -0.097884 0.081158 0.028954"
    )
    assert_golden(
        out.events, 0.022356, 0.209278, "0.221260 0.176546 0.095084 -0.007354 -0.108084 -0.186053 -0.219398 -0.185152", (2, 28)
    )
    assert_golden(out.av, 0.093545, 0.040328, "0.121665 0.141068 0.149319 0.138194 0.109578 0.063309 0.021131 0.039461")


def test_head_after_temporal_attention_and_its_loss(temporal, head, features):
    out = head(temporal(*features))
    assert_golden(
        out.relevance.t(), 0.353424, 0.006381, "0.364170 0.364150 0.359052 0.358992 0.356518 0.356491 0.355164 0.355212"
    )
    assert_golden(out.events, 0.021847, 0.394649, "0.443819 0.508883 0.459788 0.306868 0.084109 -0.159690 -0.370329 -0.499694")
    assert_golden(out.av, -0.027369, 0.480553, "-0.574641 -0.420412 -0.170009 0.120839 0.388760 0.572138 0.629260 0.549275")
    relevant = torch.ones(2, 10, dtype=torch.float64)
    relevant[0, :2] = relevant[0, 7:] = 0
    terms = head.losses(out, relevant, torch.tensor([3, 5]))
    expected = {"relevance": 0.620052, "gate": 0.679645, "events": 3.354589, "av": 3.069824}
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value, abs=6e-7)
    assert sum(terms.values()).item() == pytest.approx(7.724110, abs=1e-6)


def test_gate_loss_has_the_floor_of_a_double_sigmoid_unless_switched_off(head):
    clean = EventHead(PAPER.head, Options(gate_loss="probability"), 28)
    for relevant, floor in ((1.0, 0.3133), (0.0, 0.6931)):
        gate = torch.full((1, 10), relevant)
        out = EventOutput(torch.zeros(1, 10), torch.zeros(1, 28), torch.zeros(1, 28), gate)
        target = torch.full((1, 10), relevant)
        assert head.losses(out, target, torch.tensor([0]))["gate"].item() == pytest.approx(floor, abs=5e-5)
        assert clean.losses(out, target, torch.tensor([0]))["gate"].item() == pytest.approx(0.0, abs=1e-6)


def test_full_cmbs_head_uses_its_interactions(temporal, head, features):
    full = EventHead(PAPER.head, Options(head="cmbs_full"), 28).double().eval()
    full.load_state_dict(head.state_dict())
    gated = temporal(*features)
    assert (full(gated).relevance - head(gated).relevance).abs().max() > 1e-3
    torch.testing.assert_close(full(gated).av, head(gated).av)


def test_decoding_needs_a_strictly_positive_logit():
    events = torch.zeros(1, 28)
    events[0, 7] = 1.0
    out = EventOutput(torch.tensor([[0.0, 1e-3, -1.0, 2.0]]), events, events, torch.zeros(1, 4))
    assert decode(out).tolist() == [[28, 7, 28, 7]]
