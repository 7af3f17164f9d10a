"""The files of a sweep: what is in the table, and that each appears whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from kseg_core.sweep.files import drops, table_csv, write_sweep
from tests.reference import FEWER, KNEE


def test_the_table_has_a_line_for_every_k() -> None:
    assert table_csv(KNEE).splitlines() == [
        "k,k_found,inertia,mse,drop_percent,silhouette,calinski_harabasz,knee,chosen",
        "1,1,100.0,10.0,,,,0,0",
        "2,2,20.0,2.0,80.0,0.75,12.5,1,1",
        "3,3,15.0,1.5,25.0,0.5,12.5,0,0",
    ]
    assert table_csv(FEWER).splitlines()[2:] == ["2,2,0.0,0.0,100.0,1.0,12.5,0,1", "3,2,0.0,0.0,,1.0,12.5,0,0"]


def test_the_table_of_each_image_names_it() -> None:
    each = [
        KNEE | {"key": "a", "source": 'x, "y".png'},
        {"key": "b", "source": "b", "k": None, "knee": None, "sweep": None},
    ]
    lines = table_csv({"each": each}).splitlines()
    assert lines[0].startswith("key,source,k,")
    assert lines[1] == 'a,"x, ""y"".png",1,1,100.0,10.0,,,,0,0'
    assert len(lines) == 4


def test_drops_are_missing_where_there_is_nothing_to_fall_from() -> None:
    assert drops([]) == []
    assert drops(FEWER["sweep"]) == [None, 100.0, None]


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("kseg_core.storage.os.replace", full)
    with pytest.raises(OSError, match="No space"):
        write_sweep(str(tmp_path), KNEE)
    assert list(tmp_path.iterdir()) == []
