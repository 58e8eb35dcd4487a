"""What is remembered survives the disk, and what another node says is checked before it is believed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.errors import ApplianceError
from appliance_images.cluster import record as records
from appliance_images.cluster.record import Phase, Record, Report, Start, report_of, said

REPORT = Report(node="fw1", version="1", slot="a", is_good=True, boot="x", role="MASTER", problems=("one",))
START = Start(node="fw1", version="1", slot="a", boot="x")
RECORD = Record(file="/dev/vdb", version="2", own=START, peer=replace(START, node="fw2"))


def test_a_record_is_read_back_with_its_story() -> None:
    record = RECORD.become(Phase.SWITCH, 12.5, "a step")
    assert records.decode(records.encode(record)) == record


@pytest.mark.parametrize("raw", [b"", b"[]", b'{"format": 2}', b'{"format": 1, "notes": []}', b"\xff"])
def test_a_damaged_record_is_an_error_in_two_parts(raw: bytes) -> None:
    with pytest.raises(ApplianceError, match="damaged") as caught:
        records.decode(raw)
    assert "image list" in caught.value.hint


def test_the_story_has_an_end() -> None:
    record = RECORD
    for number in range(records.NOTES_MAX * 2):
        record = record.noted(float(number), "x" * 1000)
    assert len(record.notes) == records.NOTES_MAX
    assert len(record.notes[-1][1]) == records.TEXT_MAX


def test_a_report_travels() -> None:
    assert report_of(said(REPORT)) == REPORT


@pytest.mark.parametrize(
    "change", [{"node": 1}, {"problems": "x"}, {"problems": [1]}, {"is_good": "yes"}, {"more": 1}, {"role": "x" * 999}]
)
def test_nonsense_is_no_report(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="report"):
        report_of({**said(REPORT), **change})
    with pytest.raises(ValueError, match="no report"):
        report_of(["list"])
