"""Commands about what runs need: prepared data, public weights, checkpoints in another layout."""

from pathlib import Path
from typing import Annotated

import typer

from dgsct.cli.common import Scale, SiteFile, app, new_file, options_of, some_folder, some_path
from dgsct.errors import UsageError

GROUP = "Data and weights"


@app.command(rich_help_panel=GROUP)
def prepare(
    dataset: Annotated[str, typer.Argument(help="such as ave, avs-s4")],
    root: Annotated[Path, typer.Argument(parser=some_path, help="the data set in its own layout")],
    out: Annotated[Path, typer.Argument(parser=some_path, help="where the packed arrays and manifest.json go")],
    scale: Scale = "paper",
    jobs: Annotated[int | None, typer.Option(min=1, help="processes (default: all cores)")] = None,
    layout: Annotated[str | None, typer.Option(help="videos, frames or published (default: what is there)")] = None,
) -> None:
    """Decode a data set once into memory-mapped arrays with a manifest; stopped or killed, the same command goes on."""
    from dgsct.settings.scales import get_scale
    from dgsct.tasks import get_set

    data_set = get_set(dataset)
    sizes = get_scale(scale)
    from dgsct.data.prepare import prepare_set

    prepare_set(data_set, root, out, sizes, jobs=jobs, layout=layout)


@app.command(rich_help_panel=GROUP)
def features(
    dataset: Annotated[str, typer.Argument(help="a prepared data set, such as avs-s4")],
    extractor: Annotated[str, typer.Argument(help="such as vggish")],
    scale: Scale = "paper",
    results: Annotated[
        Path, typer.Option(parser=some_folder, help="folder of data and encoders; the features go there, too")
    ] = Path("results"),
    raw: Annotated[
        Path | None, typer.Option(parser=some_folder, help="the data set in its own layout, where the clips are read")
    ] = None,
    public: Annotated[
        Path | None, typer.Option("--from", parser=some_folder, help="import the public feature files below this folder")
    ] = None,
) -> None:
    """Extract a prepared set's features once, for the methods that read them; or import the public feature files."""
    from dgsct.data.extractors import get_extractor
    from dgsct.settings.scales import get_scale
    from dgsct.tasks import get_set

    data_set, sizes = get_set(dataset), get_scale(scale)
    get_extractor(extractor)
    from dgsct.encoders.extract import extract

    typer.echo(extract(data_set, extractor, sizes, results, raw, public))


@app.command(rich_help_panel=GROUP)
def weights(
    check: Annotated[bool, typer.Option("--check", help="read every number, and give the checksum")] = False,
    fetch: Annotated[str | None, typer.Option(help="download this one (swin) from its hub first; needs a network")] = None,
    keys: Annotated[str | None, typer.Option(help="print the expected keys and shapes of this one, such as swin")] = None,
    site: SiteFile = None,
) -> None:
    """The public weights: what they are, where they are looked for, and whether they are there and fit."""
    from dgsct.encoders import sources
    from dgsct.encoders.states import print_states, state_of
    from dgsct.runs.site import read_site

    if keys:
        sources.get_weights(keys)
        from dgsct.encoders.public import expected_keys

        typer.echo("\n".join(expected_keys(keys)))
        return
    places = read_site(site).weights
    if fetch:
        typer.echo(sources.fetch(fetch, places))
    states = [state_of(name, places, check) for name in sources.WEIGHTS]
    print_states(states)
    raise typer.Exit(1 if any(state.name == "wrong" for state in states) else 0)


@app.command(rich_help_panel=GROUP)
def convert(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="release-to-ours, ours-to-release, tensors, or an encoder")],
    file: Annotated[Path, typer.Argument(parser=some_path, help="checkpoint to read")],
    out: Annotated[Path, typer.Argument(parser=new_file, help="file to write")],
    scale: Annotated[str | None, typer.Option(help="default: what the file says, else paper")] = None,
    task: Annotated[str | None, typer.Option(help="default: what the file says, else ave")] = None,
    method: Annotated[str | None, typer.Option(help="default: what the file says, else dg-sct")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="an option of the model")] = None,
    results: Annotated[
        Path | None, typer.Option(parser=some_folder, help="folder with a run's encoders (default: the file's own)")
    ] = None,
) -> None:
    """Rewrite a checkpoint: the authors' layout to ours and back, a public encoder file to ours; or save its tensors alone."""
    from dgsct.encoders.sources import WEIGHTS

    kinds = ("release-to-ours", "ours-to-release", "tensors", *WEIGHTS)
    if kind not in kinds:
        raise UsageError(f"unknown kind {kind!r}; choose one of: {', '.join(kinds)}")
    if out.exists() and file.exists() and out.samefile(file):
        raise UsageError(f"{out} is the file to read, too; name another one to write")
    from dgsct.checkpoints import convert

    if kind == "tensors":
        count, left_out = convert.tensors_alone(file, out)
        typer.echo(f"{out}: {count} tensors written" + (f"; left out: {', '.join(map(repr, left_out))}" if left_out else ""))
        return
    if kind in WEIGHTS:
        facts = convert.convert_encoder(kind, file, out, scale or "paper")
        deviation = facts.get("front_end_deviation", 0.0)
        if deviation > convert.FRONT_END_TOLERANCE:
            typer.echo(f"note: the front end of {file} differs from the computed one by {deviation:.1e}, relatively", err=True)
        typer.echo(f"{out}: {facts['entries']} entries read ({facts['naming']})")
        return
    run, root = convert.run_of(file, task=task, method=method, overrides=options_of(set_), scale=scale, results=results)
    to_ours = kind == "release-to-ours"
    entries = convert.release_to_ours(file, out, run) if to_ours else convert.ours_to_release(file, out, run, root)
    typer.echo(f"{out}: {entries} entries written")
