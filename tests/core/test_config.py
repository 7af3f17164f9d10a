"""Settings are checked where they are made, in the words of the command line: most rows of that are in tests/jobs."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from kseg_core.choice import PictureChoice
from kseg_core.config import (
    DECIDING,
    UNSAID,
    ExecutionSettings,
    FitSettings,
    InputSettings,
    OutputSettings,
    RunConfig,
)
from kseg_core.errors import KsegError, UsageError

FIT = FitSettings(5)
BANDS = FitSettings(5, features="bands")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": 65_535}, "--k is a whole number from 1 to 65534; got 65535"),
        ({"k": "many"}, "--k is a whole number or auto; got 'many'"),
        ({"k": 2.0}, "--k is a whole number or auto; got 2.0"),
        ({"k": "auto", "k_range": (1, 2, 3)}, "--k-range is two whole numbers; got (1, 2, 3)"),
        ({"k": "auto", "k_range": (1, 2.5)}, "--k-range is two whole numbers; got (1, 2.5)"),
        (
            {"k": "auto", "start": ("#000000",)},
            "--start gives first centroids for a number of clusters: leave out --k auto",
        ),
        ({"tol": -1e-9}, "--tol is zero or more; got -1e-09"),
        ({"k": 1, "start": ("#12345",)}, "--start takes colours like '#1f77b4,#ff7f0e'; got '#12345'"),
        ({"k": 1, "start": ("#123456\n",)}, "--start takes colours like '#1f77b4,#ff7f0e'; got '#123456\\n'"),
        ({"k": 1, "start": ("#12345g",)}, "--start takes colours like '#1f77b4,#ff7f0e'; got '#12345g'"),
        ({"k": 3, "start": ("#000000", "#ffffff")}, "--start gives 2 colours for 3 clusters; give one for each"),
        ({"k": 2, "start": ("#00000a", "#00000A")}, "--start names a colour twice; first centroids must differ"),
        ({"features": "lab", "normalize": "minmax"}, "--normalize goes with --features bands"),
        ({"features": "bands", "bands": (2, 0)}, "--bands are numbered from 1; got 2,0"),
        ({"features": "bands", "bands": (-1,)}, "--bands are numbered from 1; got -1"),
        ({"k": 1, "bands": (1,), "start": ("#000000",)}, "--start gives colours; bands have none"),
        ({"bands": (1,), "scope": "image"}, "--features bands finds one model for all images; leave out --scope image"),
        ({"kind": "deep"}, "--kind is rgb, or a type and a number of bands like uint16x4; got 'deep'"),
        ({"kind": "rgb", "features": "bands"}, "--kind rgb is of pictures: leave out --features bands"),
    ],
)
def test_fit_settings_out_of_bounds_are_refused_in_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        FitSettings(**{"k": 5, **changes})
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("changes", "features"),
    [
        ({}, "auto"),
        ({"scope": "image"}, "auto"),
        ({"bands": (2,)}, "bands"),
        ({"normalize": "minmax"}, "bands"),
        ({"kind": "uint16x4"}, "bands"),
        ({"kind": "float32"}, "bands"),
        ({"kind": "rgb"}, "rgb"),
        ({"k": 1, "start": ("#000000",)}, "rgb"),
        ({"features": "lab", "kind": "uint16"}, "lab"),
    ],
)
def test_what_goes_with_one_kind_of_features_alone_asks_for_it(changes: dict[str, Any], features: str) -> None:
    assert FitSettings(**{"k": 5, **changes}).features == features


@pytest.mark.parametrize(
    "changes",
    [
        {"k": 1},
        {"k": 65_534},
        {"tol": 0.0},
        {"seed": (1 << 63) - 1},
        {"attempts": 1, "max_iter": 1, "batch_pixels": 1},
        {"k": 2, "start": ("#00000A", "#ffffff")},
        *({"features": name} for name in ("rgb", "gray", "hsv", "lab", "bands")),
        *({"features": "bands", "normalize": name} for name in ("none", "standard", "minmax")),
        {"features": "bands", "bands": (4, 3, 2)},
        {"features": "bands", "bands": (1,)},
        *({"scope": name} for name in ("global", "image")),
        *({"init": name} for name in ("k-means++", "random")),
    ],
)
def test_fit_settings_at_their_bounds_are_accepted(changes: dict[str, Any]) -> None:
    settings = FitSettings(**{"k": 5, **changes})
    assert {name: getattr(settings, name) for name in changes} == changes


ONE_OF_TWO = "say how many clusters with --k 5 or --k auto, or give --model with a model that has them: one of the two"
NODATA = "--nodata is auto, none, or numbers with commas between them; got "
TILE = "--tile is from 64 to 16384 pixels; got "


@pytest.mark.parametrize(
    ("settings", "arguments", "message"),
    [
        (InputSettings, {"nodata": ""}, NODATA + "''"),
        (InputSettings, {"nodata": "1,,2"}, NODATA + "'1,,2'"),
        (InputSettings, {"nodata_in": "most"}, "--nodata-in is one of any, all; got 'most'"),
        (
            FitSettings,
            {"k": 2, "display": (3, 2)},
            "--display takes three bands (red, green, blue) or one (gray); got 3,2",
        ),
        (FitSettings, {"k": 2, "display": (3, 2, 0)}, "--display: bands are numbered from 1; got 3,2,0"),
        (
            FitSettings,
            {"k": 2, "features": "lab", "display": (1,)},
            "--display goes with --features bands: colours are shown as they are",
        ),
        (OutputSettings, {"tile": -1}, TILE + "-1"),
        (OutputSettings, {"tile": 16_385}, TILE + "16385"),
        (RunConfig, {"fit": None}, ONE_OF_TWO),
    ],
)
def test_settings_that_make_no_sense_or_contradict_each_other_are_refused(
    settings: type, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        settings(**arguments)
    assert str(caught.value) == message


def test_a_tile_at_its_bounds_is_accepted() -> None:
    assert [OutputSettings(tile=tile).tile for tile in (64, 16_384)] == [64, 16_384]


def test_values_of_nodata_are_numbers_whole_ones_as_such() -> None:
    found = {text: InputSettings(text).nodata_values for text in ("auto", "none", "-9999", "1e3,0", str(2**63 - 1))}
    assert found == {"auto": (), "none": (), "-9999": (-9999,), "1e3,0": (1000.0, 0), str(2**63 - 1): (2**63 - 1,)}


def test_from_python_nodata_may_be_a_number() -> None:
    assert InputSettings(-9999) == InputSettings("-9999")  # type: ignore[arg-type]
    assert InputSettings(0.5).nodata_values == (0.5,)  # type: ignore[arg-type]


def test_settings_of_earlier_rules_are_told_as_that_release_told_them() -> None:
    told = InputSettings("0").as_before().to_json()
    assert not {"validity", "nodata_in"} & set(told)
    assert InputSettings("0").to_json() == {**told, "validity": 2}
    assert InputSettings("0", nodata_in="any").to_json() == {**told, "validity": 2, "nodata_in": "any"}


def test_masks_are_made_up_to_32_clusters_unless_asked_otherwise() -> None:
    assert [OutputSettings().writes_masks(k) for k in (1, 32, 33)] == [True, True, False]
    assert [OutputSettings(masks=True).writes_masks(k) for k in (1, 33)] == [True, True]
    assert [OutputSettings(masks=False).writes_masks(k) for k in (1, 33)] == [False, False]


def test_a_cluster_is_an_address_or_a_scheduler_file(tmp_path: Path) -> None:
    file = tmp_path / "scheduler.json"
    file.write_text("{}")
    for scheduler, is_cluster in [
        ("threads", False),
        ("processes", False),
        ("sync", False),
        ("tcp://127.0.0.1:8786", True),
        ("tls://host:8786", True),
        (str(file), True),
    ]:
        assert ExecutionSettings(scheduler).is_cluster is is_cluster


def test_wrong_usage_is_a_value_error_and_a_kseg_error() -> None:
    assert issubclass(UsageError, ValueError)
    assert issubclass(UsageError, KsegError)


def test_settings_are_frozen() -> None:
    for settings, name in (
        (FIT, "k"),
        (InputSettings(), "nodata"),
        (OutputSettings(), "tile"),
        (ExecutionSettings(), "workers"),
    ):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(settings, name, 1)


def test_the_fingerprint_ignores_where_the_work_runs_and_overwrite() -> None:
    plain = RunConfig(FIT).fingerprint()
    for same in (
        RunConfig(FIT, execution=ExecutionSettings("sync")),
        RunConfig(FIT, execution=ExecutionSettings("processes", workers=7, strict=True)),
        RunConfig(FIT, output=OutputSettings(overwrite=True)),
    ):
        assert same.fingerprint() == plain


#: Another value for every setting that changes what a store holds.
OTHER_FIT = {
    "k": 6,
    "features": "lab",
    "scope": "image",
    "init": "random",
    "attempts": 3,
    "max_iter": 7,
    "tol": 0.5,
    "batch_pixels": 5,
    "seed": 1,
    "start": ("#000000", "#000001", "#000002", "#000003", "#000004"),
    "kind": "uint16x4",
}
AUTO = FitSettings("auto")
OTHER_AUTO = {"k_range": (2, 5)}
OTHER_BANDS = {"bands": (2, 1), "derive": ("ndvi=(b2-b1)/(b2+b1)",), "display": (2, 1, 3), "normalize": "standard"}
OTHER_INPUT = {
    "nodata": "none",
    "mask": __file__,
    "max_pixels": 5,
    "choice": PictureChoice(page=1),
    "nodata_in": "all",
    "smooth": "2um",
    "stack": "auto",
    "pixel_size": "0.12mm",
    "validity": 1,
}
OTHER_OUTPUT = {
    "masks": False,
    "tile": 64,
    "pyramid": False,
    "copy_image": True,
    "confidence": True,
    "edges": (1.0, 2.0),
    "min_region": "50um2",
    "segments": 0.36,
}
OF_SEGMENTS = {"segment_scale": "native", "segment_palette": "shared"}


@pytest.mark.parametrize("default", [False, 0, -3, "", "near", (), None])
@pytest.mark.parametrize("kind", [FitSettings, InputSettings, OutputSettings, PictureChoice])
def test_a_setting_that_came_later_is_told_only_where_it_is_not_at_its_default_and_is_read_again(
    kind: Any, default: Any
) -> None:
    later: Any = dataclasses.make_dataclass("Later", [("rate", Any, default)], bases=(kind,), frozen=True)
    given = {"k": 5} if kind is FitSettings else {}
    told = kind(**given).to_json()
    assert later(**given).to_json() == told
    assert later(**given, rate=[4]).to_json() == told | {"rate": [4]}
    if kind is FitSettings:
        assert later(5).facts() == FIT.facts()
        assert later(5, rate=4).facts() == FIT.facts() | {"rate": 4}
    else:
        for each in (later(), later(rate=-4)):
            assert later.from_json(json.loads(json.dumps(each.to_json()))) == each


def test_each_setting_has_a_name_of_its_own_in_documents() -> None:
    every = [name for kind in DECIDING for name in names(kind)]
    assert sorted(every) == sorted(set(every))
    assert (UNSAID["validity"], UNSAID["nodata"], UNSAID["attempts"], UNSAID["bands"]) == (1, "auto", 10, [])


def names(settings: type) -> set[str]:
    return {field.name for field in dataclasses.fields(settings)}


def test_the_fingerprint_sees_every_other_setting() -> None:
    assert names(FitSettings) == {*OTHER_FIT, *OTHER_BANDS, *OTHER_AUTO, "features_why", "stains"}
    assert names(InputSettings) == set(OTHER_INPUT)
    assert names(OutputSettings) == {*OTHER_OUTPUT, *OF_SEGMENTS, "keep_raw", "overwrite", "checksum", "prune"}
    others = [RunConfig(dataclasses.replace(FIT, **{name: value})) for name, value in OTHER_FIT.items()]  # type: ignore[arg-type]
    others += [RunConfig(dataclasses.replace(BANDS, **{name: value})) for name, value in OTHER_BANDS.items()]  # type: ignore[arg-type]
    others += [RunConfig(dataclasses.replace(AUTO, **{name: value})) for name, value in OTHER_AUTO.items()]  # type: ignore[arg-type]
    others += [RunConfig(AUTO)]
    others += [RunConfig(FIT, OutputSettings(**{name: value})) for name, value in OTHER_OUTPUT.items()]  # type: ignore[arg-type]
    others += [RunConfig(FIT, input=InputSettings(**{name: value})) for name, value in OTHER_INPUT.items()]  # type: ignore[arg-type]
    others += [RunConfig(FIT, OutputSettings(segments=0.36, **{name: value})) for name, value in OF_SEGMENTS.items()]  # type: ignore[arg-type]
    others += [RunConfig(FIT, OutputSettings(min_region="50um2", keep_raw=True))]
    others += [RunConfig(FIT, OutputSettings(pyramid=True)), RunConfig(FIT, input=InputSettings("0"))]
    others += [RunConfig(FIT, match="m"), RunConfig(None, model="m"), RunConfig(FIT), RunConfig(BANDS)]
    others += [RunConfig(FitSettings(5, "hed", stains=stains)) for stains in (None, "hdx")]
    prints = [config.fingerprint() for config in others]
    texts = [json.dumps(each, sort_keys=True) for each in prints]
    assert len(set(texts)) == len(others)
    assert [json.loads(text) for text in texts] == prints


@pytest.mark.parametrize("name", OF_SEGMENTS)
def test_how_segments_are_found_goes_with_segments(name: str) -> None:
    told = {name: OF_SEGMENTS[name]}
    with pytest.raises(UsageError, match=f"--{name.replace('_', '-')} {told[name]} .*give --segments"):
        OutputSettings(**told)
    assert OutputSettings(**{name: getattr(OutputSettings(), name)}) == OutputSettings()
    assert OutputSettings.from_json(told) == OutputSettings()  # a store that was made with it has no segments either
    assert getattr(OutputSettings.from_json({**told, "segments": 0.5}), name) == told[name]


def test_auto_has_a_number_of_clusters_only_when_it_is_given_one() -> None:
    assert (AUTO.tried, FitSettings("auto", k_range=(2, 5)).tried) == ((1, 10), (2, 5))
    with pytest.raises(ValueError, match="got auto"):
        _ = AUTO.clusters
    assert FitSettings("auto", seed=3, k_range=(2, 5)).for_k(4) == FitSettings(4, seed=3)
    assert FitSettings(4).clusters == 4
