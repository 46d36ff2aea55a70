"""Numbers that no weights are: refused wherever a checkpoint or a public file is read in earnest, with the first keys."""

import numpy as np
import pytest
import torch
from public_rig import TINY, encoder_entries, write

from dgsct.checkpoints import convert
from dgsct.encoders.sources import WEIGHTS
from dgsct.encoders.tensor_files import read_tensors, sound
from dgsct.errors import DgsctError
from dgsct.settings.scales import SCALES

NAN, INF = float("nan"), float("inf")


def good() -> dict[str, torch.Tensor]:
    return {
        "a.weight": torch.tensor([[0.0, -2.0], [1e9, 3.0]]),
        "bn.running_var": torch.zeros(3),
        "bn.running_mean": torch.tensor([-30.0]),
        "count": torch.tensor(-1),
        "half": torch.ones(2).half(),
        "brain": torch.ones(2).bfloat16(),
        "double": torch.ones(2, dtype=torch.float64),
        "mask": torch.tensor([True]),
        "zeros": torch.zeros(4, 4),
        "nothing": torch.ones(0, 3),
        "scale": torch.tensor(2.0),
    }


def test_plausible_numbers_pass():
    sound("x.pth", good())
    sound("x.pth", {})
    sound("x.pth", {"only.bias": torch.zeros(3)})
    sound("x.pth", {"parameter": torch.nn.Parameter(torch.ones(2, 2)), "bytes": torch.ones(2, 2).to(torch.float8_e4m3fn)})


FAULTS = {
    "not a number": ({"a.weight": torch.tensor([[1, NAN]])}, "numbers that are not finite in 'a.weight', so it is damaged or"),
    "infinite": ({"scale": torch.tensor(INF)}, "numbers that are not finite in 'scale'"),
    "below all": ({"bn.running_mean": torch.tensor([0.0, -INF])}, "numbers that are not finite in 'bn.running_mean'"),
    "half": ({"half": torch.tensor([1.0, NAN]).half()}, "numbers that are not finite in 'half'"),
    "brain": ({"brain": torch.tensor([NAN]).bfloat16()}, "numbers that are not finite in 'brain'"),
    "byte": ({"byte": torch.tensor([NAN, 1.0]).to(torch.float8_e5m2)}, "numbers that are not finite in 'byte'"),
    "double": ({"double": torch.tensor([1e300], dtype=torch.float64)}, "numbers beyond 1e+10 in 'double'"),
    "many": ({f"k{i}": torch.tensor(NAN) for i in range(9)}, "numbers that are not finite in 'k0', 'k1', 'k2' and 6 more"),
    "variance": ({"bn.running_var": torch.tensor([1.0, -1e-9])}, "variances below zero in 'bn.running_var'"),
    "bytes in the wrong order": (
        {"a.weight": torch.from_numpy(np.linspace(0.01, 1, 64, dtype=np.float32).reshape(8, 8).byteswap())},
        "numbers ",
    ),
}


@pytest.mark.parametrize("case", FAULTS)
def test_numbers_that_no_weights_are(case):
    change, sentence = FAULTS[case]
    with pytest.raises(DgsctError) as error:
        sound("x.pth", good() | change)
    assert str(error.value).startswith(f"x.pth holds {sentence}")
    assert "\n" not in str(error.value)


def test_a_file_of_zeros():
    zeros = {key: torch.zeros_like(tensor) for key, tensor in good().items()} | {"norm.weight": torch.ones(3)}
    with pytest.raises(DgsctError, match=r"x.pth holds nothing but zeros in 2 of its 2 matrices; get it again"):
        sound("x.pth", zeros)


@pytest.mark.parametrize("encoder", WEIGHTS)
@pytest.mark.parametrize("fault", ["not a number", "infinite", "variance", "zeros"])
def test_no_public_file_is_converted_with_them(tmp_path, monkeypatch, encoder, fault):
    monkeypatch.setitem(SCALES, "mini", TINY)
    entries = encoder_entries(encoder, TINY)
    key = next((k for k in entries if k.endswith("running_var")), None) if fault == "variance" else sorted(entries)[-1]
    if key is None:
        pytest.skip("it has no running variance")
    if fault == "zeros":  # but for what is no weight: indices, masks, Fourier kernels
        fixed = ("index", "mask", "melW", "conv_real.weight", "conv_imag.weight")
        entries = {k: t if k.endswith(fixed) else torch.zeros_like(t) for k, t in entries.items()}
    else:
        entries[key].view(-1)[0] = {"not a number": NAN, "infinite": INF, "variance": -1.0}[fault]
    path = write(tmp_path / "x.pth", entries)
    with pytest.raises(DgsctError) as error:
        convert.convert_encoder(encoder, path, tmp_path / "out.safetensors", "mini")
    assert f"{path} holds " in str(error.value)
    assert (repr(key) in str(error.value)) == (fault != "zeros")
    assert list(tmp_path.iterdir()) == [path]
    read_tensors(path)  # a look at its keys reads no numbers


@pytest.mark.parametrize("odd", [torch.eye(3).to_sparse(), torch.empty(2, device="meta")], ids=["sparse", "meta"])
def test_tensors_that_are_no_plain_arrays(tmp_path, odd):
    torch.save({"a": torch.ones(2), "odd": odd}, tmp_path / "a.pth")
    with pytest.raises(DgsctError, match=r"holds tensors that are no plain arrays of numbers, 'odd'; save them as such"):
        read_tensors(tmp_path / "a.pth")
