"""What the doctor finds without a cluster; with a real Slurm it is asked in tests/cluster."""

import json
import re
import shutil
import subprocess
import time

import numpy as np
import pytest
from doctor_rig import campaign, doctor, levels, site_file, smi
from queue_rig import on_path, program

from dgsct.campaign.commands import ask
from dgsct.campaign.doctor import Check, Finding, examine, machine, world
from dgsct.campaign.doctor.report import print_findings
from dgsct.tasks.ave.annotations import AveIndex, Row, write_index
from dgsct.tasks.ave.categories import AVE


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    return doctor(tmp_path_factory.mktemp("healthy"), python=("-X", "importtime"))


def test_a_mini_campaign_on_a_machine_that_can_run_the_tests_is_fine(healthy):
    assert healthy.code == 0
    *findings, last = healthy.out.splitlines()
    assert {line.split()[0] for line in findings} <= {"ok", "warning"}
    assert {line.split()[1] for line in findings} == {"software", "around", "gpu", "settings", "dag", "data", "weights", "disk"}
    assert last.startswith("0 errors, ")


def test_the_dag_is_really_planned(healthy):
    # Data, two encoders, nine runs, the table.
    assert healthy.of("dag", "ok")[0].startswith("Snakemake plans 15 jobs, 9 of them runs, in ")


def test_nothing_heavy_is_imported(healthy):
    imported = {line.rsplit("|", 1)[1].strip().split(".")[0] for line in healthy.err.splitlines() if line.count("|") == 2}
    assert "dgsct" in imported
    assert not imported & {"torch", "timm", "matplotlib", "pandas", "snakemake"}


def test_without_slurm_the_profile_is_an_error_with_a_remedy(tmp_path):
    (tmp_path / "bin").mkdir()
    for name in ("bash", "which"):  # Snakemake and its plugin cannot plan without
        (tmp_path / "bin" / name).symlink_to(shutil.which(name))
    told = doctor(tmp_path, "--profile", "slurm", env={"PATH": str(tmp_path / "bin")})
    assert told.code == 1
    assert told.of("slurm") == [
        "Slurm is not reachable: sinfo, squeue, scontrol, sbatch, scancel, srun not installed;"
        " remedy: run dgsct on the cluster's login node, or leave out --profile"
    ]
    assert told.of("software", "warning")[0].startswith("pdflatex is not installed")
    assert told.out.splitlines()[-1].startswith("1 error, ")


def test_full_size_without_anything_names_every_gap(tmp_path):
    told = doctor(tmp_path, "--scale", "paper", "--site", site_file(tmp_path, data={"ave": str(tmp_path / "AVE")}))
    assert told.code == 1
    assert told.of("data", "error")[0].startswith(f"ave: {tmp_path / 'AVE/Annotations.txt'} does not exist; remedy: ")
    missing = told.of("weights", "error")
    assert [line.split(":")[0] for line in missing] == ["swin", "htsat"]
    assert all("get it from https://" in line for line in missing)
    assert "needs results/encoders/paper/swin.safetensors" in told.of("dag", "error")[0]
    assert not (tmp_path / "results").exists()


def test_without_a_site_file_the_remedy_is_a_copy_of_the_repositorys(tmp_path):
    told = doctor(tmp_path, "--scale", "paper", "--methods", "majority-class")
    (error,) = told.of("data", "error")
    assert error.startswith(
        "ave: no data; remedy: name its folder as data.ave in a copy of workflow/config/site.yaml, given with"
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--site", "nowhere.yaml"], "nowhere.yaml: the site file cannot be read ("),
        (["--site", "bad.yaml"], "bad.yaml: the site file cannot be read (while parsing "),
        (["--site", "list.yaml"], "list.yaml: the site file must hold `name: value` lines"),
        (["--site", "many.yaml"], "many.yaml: run.cpus must be a whole number above 0, or null"),
        (["--profile", "slrum"], "no profile 'slrum': no config.yaml in slrum, "),
        (["--tasks", "avee"], "configuration: unknown task 'avee'"),
    ],
)
def test_wrong_use_is_one_sentence_and_exit_code_2(tmp_path, arguments, sentence):
    (tmp_path / "bad.yaml").write_text("run: {cpus: 2")
    (tmp_path / "list.yaml").write_text("- run")
    (tmp_path / "many.yaml").write_text("run: {cpus: many}")
    told = doctor(tmp_path, *arguments)
    assert (told.code, told.out) == (2, "")
    assert told.err.startswith(f"dgsct: {sentence}")
    assert told.err.count("\n") == 1


@pytest.fixture
def packed(mini_world, tmp_path):
    """A results folder of its own with the prepared mini set and its encoders."""
    shutil.copytree(mini_world / "data/mini/ave/packed", tmp_path / "data/mini/ave/packed")
    shutil.copytree(mini_world / "encoders", tmp_path / "encoders")
    return tmp_path


def flip(path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(bytes(content))


def test_prepared_data_are_verified(packed, monkeypatch):
    good = list(world.data(campaign(packed), False))
    assert levels(good) == ["ok"]
    assert good[0].text.endswith("checksums right")
    flip(packed / "data/mini/ave/packed/wave.npy", -1)
    bad = list(world.data(campaign(packed), False))
    assert levels(bad) == ["error"]
    assert "wave.npy is not what its manifest describes" in bad[0].text
    # A large set is read when asked to only.
    monkeypatch.setattr(world, "READ_AT_MOST", 1000)
    assert levels(list(world.data(campaign(packed), False))) == ["ok"]
    assert levels(list(world.data(campaign(packed), True))) == ["error"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda m: m["categories"].reverse(), r"has 'Triangle, humming' as class 0 where scale mini has 'Disc, humming'"),
        (lambda m: m["categories"].pop(), r"has 5 categories, scale mini has 6"),
        (lambda m: m["splits"].update(test=[]), r"the prepared set 'ave' holds no clip of split 'test'"),
        (lambda m: m["splits"].update(test=m["splits"]["train"]), r"clips of the split 'test' are training clips, too"),
        (lambda m: m["rows"][0].update(end=0, start=0), r"its labels are not those of its rows"),
    ],
)
def test_a_prepared_set_that_no_run_would_open_is_an_error(packed, change, sentence):
    path = packed / "data/mini/ave/packed/manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))
    (found,) = [finding for _, finding in examine([Check("data", lambda: world.data(campaign(packed), False), 30)])]
    assert found.level == "error"
    assert re.search(sentence, found.text)


def test_a_set_that_is_still_to_be_prepared_is_read(tmp_path):
    rows = tuple(Row(AVE[i % 28], f"clip{i}", "good", 0, 10) for i in range(30))
    rows += (Row(AVE[1], "clip0", "good", 3, 5),)
    splits = {"train": np.arange(28), "val": np.array([28, 30]), "test": np.array([29])}

    def found(names=AVE, **changes):
        write_index(tmp_path, AveIndex(rows, names, {**splits, **changes}))
        return world_of(tmp_path)

    good = found()
    assert levels(good) == ["ok", "ok", "ok"]
    assert "ave: 1 clip has annotation rows that contradict each other, for example clip0" in good[0].text
    assert "ave: 1 clip lies in the splits 'train' and 'val', for example clip0" in good[1].text
    (told,) = found(test=np.array([0, 1]))
    assert told.level == "error"
    assert "all 2 clips of the split 'test' are training clips, too" in told.text
    (told,) = found(AVE[::-1])
    assert "categories.txt, line 1: class 0 is 'Church bell', not 'Mandolin'" in told.text
    few = AveIndex(rows[:3], AVE[:3], {"train": np.array([0]), "val": np.array([1]), "test": np.array([2])})
    write_index(tmp_path, few)
    (told,) = world_of(tmp_path)
    assert "has other categories than the set, in name or order" in told.text
    (tmp_path / "Annotations.txt").write_text("nonsense\n")
    (told,) = world_of(tmp_path)
    assert "'nonsense' is no annotation" in told.text


def world_of(root):
    """What is said of the raw set in `root`."""
    asked = campaign(root / "results", "paper", data={"ave": str(root)})
    return [finding for _, finding in examine([Check("data", lambda: world.data(asked, False), 30)])]


def test_an_array_that_is_cut_off_is_an_error_with_a_remedy(packed):
    path = packed / "data/mini/ave/packed/frames.npy"
    path.write_bytes(path.read_bytes()[:5000])
    found = [finding for _, finding in examine([Check("data", lambda: world.data(campaign(packed), False), 30)])]
    assert levels(found) == ["error"]
    assert "frames.npy is missing or damaged" in found[0].text
    assert "prepare the data again" in found[0].text


def test_encoders_are_verified(packed):
    assert levels(list(world.weights(campaign(packed), False))) == ["ok", "ok"]
    flip(packed / "encoders/mini/htsat.safetensors", -1)
    (packed / "encoders/mini/swin.json").unlink()
    found = {finding.text.split(":")[0]: finding for finding in world.weights(campaign(packed), False)}
    assert {name: finding.level for name, finding in found.items()} == {"swin": "error", "htsat": "error"}
    assert "htsat.safetensors is damaged" in found["htsat"].text
    assert found["htsat"].remedy.startswith("delete ")


def test_a_disk_that_is_too_small_and_one_that_takes_nothing(small_disk):
    found = list(world.disk(campaign(small_disk / "results")))
    assert levels(found) == ["error"]
    assert found[0].text.startswith("the disk is too small: ")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    found = list(world.disk(campaign(small_disk / "results")))
    assert (levels(found), found[0].text) == (["error"], f"{small_disk} takes no files: Read-only file system")


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        (("2.11.0", "0.26.0", "2.11.0"), ["ok"]),
        (("2.11.0+cu130", "0.26.1+cu130", "2.11.0"), ["ok"]),
        (("2.12.0", "0.27.0", "2.12.0"), ["warning"]),
        (("2.12.0", "0.27.0", "2.11.0"), ["error"]),
        (("2.11.0", "0.25.0", "2.11.0"), ["error"]),
        (("2.11.0+cu130", "0.26.0+cpu", "2.11.0+cpu"), ["error", "error"]),
    ],
)
def test_torch_and_its_family_must_be_of_one_release(versions, expected):
    found = list(machine.torch_family(dict(zip(machine.TESTED, versions, strict=True))))
    assert levels(found) == expected
    assert all(finding.remedy for finding in found if finding.level != "ok")


@pytest.mark.parametrize(
    ("script", "slurm", "expected"),
    [
        (smi("NVIDIA H100, 81559 MiB, 580.1", "13.0"), False, ["ok", "ok"]),
        (
            smi("NVIDIA A100, 40960 MiB, 550.1", "12.4"),
            False,
            ["ok", "error"],
        ),
        ("echo 'NVIDIA A100, 40960 MiB, 550.1'", False, ["ok", "warning"]),
        ("echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18", False, ["error"]),
        ("echo 'No devices were found'", True, ["warning"]),
        ("sleep 60", True, ["warning"]),
    ],
)
def test_the_driver_is_judged_by_nvidia_smi(tmp_path, monkeypatch, script, slurm, expected):
    program(tmp_path, "nvidia-smi", script)
    on_path(monkeypatch, tmp_path)
    monkeypatch.setattr(machine, "SECONDS", 0.5)
    monkeypatch.setattr(machine, "cuda_build", lambda: "13.0")
    assert levels(list(machine.gpu(campaign(tmp_path, "paper", slurm=slurm)))) == expected


def test_a_machine_without_gpu_is_a_warning_at_most(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(machine, "cuda_build", lambda: "13.0")
    found = [list(machine.gpu(campaign(tmp_path, scale, slurm=slurm))) for scale, slurm in (("mini", False), ("paper", True))]
    assert [levels(one) for one in found] == [["ok"], ["warning"]]
    assert found[1][0].remedy == "on a node: srun --gres=gpu:1 nvidia-smi"


def test_the_cuda_version_is_read_without_torch():
    import torch

    assert machine.cuda_build() == torch.version.cuda


def test_what_a_program_started_is_ended_with_it(tmp_path):
    mark = tmp_path / "mark"
    program(tmp_path, "slow", f"(sleep 1.5; touch {mark}) & wait")
    assert ask(str(tmp_path / "slow"), seconds=0.3).problem.endswith("did not answer in 0.3 s")
    time.sleep(2)
    assert not mark.exists()


def test_a_check_that_hangs_or_breaks_does_not_hide_the_others():
    def hangs():
        yield Finding("ok", "first")
        time.sleep(60)

    def breaks():
        raise ValueError("a bug")
        yield

    checks = [Check("disk", hangs, 0.3), Check("data", breaks, 5), Check("gpu", lambda: [Finding("ok", "last")], 5)]
    found = list(examine(checks))
    assert [(area, finding.level) for area, finding in found] == [
        ("disk", "ok"), ("disk", "error"), ("data", "error"), ("gpu", "ok")
    ]  # fmt: skip
    assert found[1][1].text == "this check was given up after 0.3 s"
    assert "ValueError: a bug" in found[2][1].text


def test_in_a_terminal_lines_are_coloured_and_the_remedy_stands_below(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert print_findings([("disk", Finding("error", "full", "free space")), ("gpu", Finding("ok", "there"))]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "\x1b[" in lines[0]
    assert "full" in lines[0]
    assert "free space" in lines[1]
    assert lines[-1] == "1 error, 0 warnings, 1 ok"
