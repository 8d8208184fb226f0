"""Records are whole: each part says when, where and with what, and its rows can be had by name."""

import json

import pytest
import sysai.recorded
from sysai.recorded import origin, record_path, recorded

RECORDS = sorted(record_path("").parent.glob("*.json"))


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_every_part_has_its_origin_and_rows(path):
    parts = json.loads(path.read_text(encoding="utf-8"))
    assert parts
    for part in parts:
        found = recorded(path.stem, part)
        assert found["rows"]
        header = found["header"]
        assert {"python", "sysai", "torch"} <= set(header["versions"])
        assert "not installed" not in header["versions"].values(), "a contestant was missing"
        assert header["date"] in origin(header)
        assert "GB/s" in origin(header)


def test_what_is_not_recorded_says_how_it_would_be(tmp_path, monkeypatch):
    monkeypatch.setattr(sysai.recorded, "__file__", str(tmp_path / "__init__.py"))
    with pytest.raises(ValueError, match=r"ch14_decode has no part 'decode': run code/benchmarks/ch14_decode\.py"):
        recorded("ch14_decode", "decode")
