"""A cell becomes the value it spells, or a finding that says what it is not."""

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventlink.importers.cells import check_batch, check_cells
from eventlink.importers.format import Column, Kind

TEXTS = [
    (Kind.INTEGER, "7", 7),
    (Kind.INTEGER, "-7", -7),
    (Kind.INTEGER, "007", 7),
    (Kind.INTEGER, "50.0", 50),
    (Kind.INTEGER, "9223372036854775807", 2**63 - 1),
    (Kind.INTEGER, "-9223372036854775808", -(2**63)),
    (Kind.REAL, "41", 41.0),
    (Kind.REAL, "-87.68677", -87.68677),
    (Kind.REAL, ".5", 0.5),
    (Kind.REAL, "1e-05", 0.00001),
    (Kind.SINGLE, "12.5", 12.5),
    (Kind.SINGLE, "1e-60", 0.0),
    (Kind.BOOLEAN, "true", True),
    (Kind.BOOLEAN, "False", False),
    (Kind.BOOLEAN, "t", True),
    (Kind.BOOLEAN, "0", False),
    (Kind.TEXT, "", ""),
    (Kind.TEXT, " ă“😀”,\n", " ă“😀”,\n"),
    (Kind.NAME, "", None),
    (Kind.NAME, "n" * 2600, "n" * 2600),
    (Kind.INTEGER, "", None),
    (Kind.REAL, "", None),
    (Kind.BOOLEAN, "", None),
    (Kind.INSTANT, "", None),
    (Kind.JSON, "", None),
    (
        Kind.JSON,
        '{"query": "jazz", "tags": ["\\\\u0000"]}',
        '{"query": "jazz", "tags": ["\\\\u0000"]}',
    ),
    (Kind.JSON, "null", "null"),
]

INSTANTS = [
    ("2016-05-18T02:30:00Z", datetime(2016, 5, 18, 2, 30, tzinfo=UTC)),
    ("2016-05-18T02:30:00.000001Z", datetime(2016, 5, 18, 2, 30, 0, 1, tzinfo=UTC)),
    ("2016-05-18T02:30:00.123456789Z", datetime(2016, 5, 18, 2, 30, 0, 123456, tzinfo=UTC)),
    ("2016-05-18T02:30:00,5Z", datetime(2016, 5, 18, 2, 30, 0, 500000, tzinfo=UTC)),
    ("2016-05-18T02:30:00", datetime(2016, 5, 18, 2, 30, tzinfo=UTC)),
    ("2016-05-18 02:30:00+00", datetime(2016, 5, 18, 2, 30, tzinfo=UTC)),
    ("2016-05-18 02:30:00 +03:00", datetime(2016, 5, 17, 23, 30, tzinfo=UTC)),
    ("2016-05-18T02:30-0530", datetime(2016, 5, 18, 8, 0, tzinfo=UTC)),
    ("2016-05-18t02:30:00z", datetime(2016, 5, 18, 2, 30, tzinfo=UTC)),
    ("2016-05-18", datetime(2016, 5, 18, tzinfo=UTC)),
    ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
    ("9999-12-31T23:59:59.999999Z", datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)),
]

BAD_TEXTS = [
    (Kind.INTEGER, "seven", "is not a whole number"),
    (Kind.INTEGER, "0x1f", "is not a whole number"),
    (Kind.INTEGER, "1.5", "is not a whole number"),
    (Kind.INTEGER, " 1", "is not a whole number"),
    (Kind.INTEGER, "9223372036854775808", "is too large: more than 64 bits"),
    (Kind.REAL, "north", "is not a finite number"),
    (Kind.REAL, "nan", "is not a finite number"),
    (Kind.REAL, "inf", "is not a finite number"),
    (Kind.REAL, "1e400", "is not a finite number"),
    (Kind.SINGLE, "1e39", "is not a finite number of single precision"),
    (Kind.BOOLEAN, "perhaps", "is not true or false"),
    (Kind.INSTANT, "yesterday", "is not an instant such as 2016-05-18T02:30:00Z"),
    (Kind.INSTANT, "2016-02-30T00:00:00Z", "is not an instant such as 2016-05-18T02:30:00Z"),
    (Kind.INSTANT, "2016-05-18T25:00:00", "is not an instant such as 2016-05-18T02:30:00Z"),
    (Kind.INSTANT, "1463538600", "is not an instant such as 2016-05-18T02:30:00Z"),
    (Kind.INSTANT, "0000-12-31T00:00:00Z", "is not in the years 1 to 9999"),
    (Kind.TEXT, "a\0b", "contains a NUL character"),
    (Kind.NAME, "ă" * 1301, "is not at most 2600 bytes long"),
    (Kind.JSON, "{", "is not JSON that PostgreSQL can hold"),
    (Kind.JSON, "NaN", "is not JSON that PostgreSQL can hold"),
    (Kind.JSON, '"\\u0000"', "is not JSON that PostgreSQL can hold"),
    (Kind.JSON, '"\\ud800"', "is not JSON that PostgreSQL can hold"),
    (Kind.JSON, "1e200000", "is not JSON that PostgreSQL can hold"),
    (Kind.JSON, "[" * 5000 + "]" * 5000, "is not JSON that PostgreSQL can hold"),
]


def check(cells: pa.Array, column: Column) -> tuple[list[Any], dict[int, str]]:
    """Return the values, None where bad, and what is wrong by place."""
    batch, problems = check_batch(pa.record_batch([cells], names=[column.name]), [column])
    assert batch.schema.types == [column.kind.arrow]
    array = batch.column(0)
    if column.kind is Kind.INSTANT:
        array = array.cast(pa.timestamp("us"))  # a machine need not know any zones
    values = [None if place in problems else cell.as_py() for place, cell in enumerate(array)]
    if column.kind is Kind.INSTANT:
        values = [value and value.replace(tzinfo=UTC) for value in values]
    return values, {place: each.wrong for place, each in problems.items()}


@pytest.mark.parametrize(
    ("kind", "text", "value"), [*TEXTS, *((Kind.INSTANT, *i) for i in INSTANTS)]
)
def test_a_text_becomes_its_value(kind: Kind, text: str, value: object) -> None:
    assert check(pa.array([text, None, text]), Column("c", kind)) == ([value, None, value], {})


@pytest.mark.parametrize(("kind", "text", "wrong"), BAD_TEXTS)
def test_a_text_that_is_no_value_is_found_where_it_is(kind: Kind, text: str, wrong: str) -> None:
    _, problems = check(pa.array([None, "", text, None, text], pa.string()), Column("c", kind))
    assert problems == {2: wrong, 4: wrong}


def test_good_cells_beside_bad_ones_keep_their_values() -> None:
    texts = ["1", "x", "3", "99999999999999999999", "5.0"]
    values, problems = check(pa.array(texts), Column("c", Kind.INTEGER))
    assert (values, set(problems)) == ([1, None, 3, None, 5], {1, 3})
    texts = ["2016-05-18", "x", "2016-05-19T00:00:00Z", "2016-13-01"]
    values, problems = check(pa.array(texts), Column("c", Kind.INSTANT))
    assert (values[0].day, values[2].day, set(problems)) == (18, 19, {1, 3})


def test_bytes_that_are_not_utf_8_are_found() -> None:
    cells = pa.array([b"caf\xc3\xa9", b"caf\xe9", None], pa.binary())
    assert check(cells, Column("c", Kind.TEXT)) == (["café", None, None], {1: "is not UTF-8"})


@pytest.mark.parametrize(
    ("column", "texts", "wrong"),
    [
        (Column("lat", Kind.REAL, low=-90, high=90), ["-90", "90.01"], "is not between -90 and 90"),
        (Column("n", Kind.INTEGER, low=0), ["0", "-1"], "is less than 0"),
        (Column("s", Kind.NAME, choices=("a", "b")), ["b", "c"], "is not one of a, b"),
        (Column("id", Kind.INTEGER, filled=True), ["1", None], "must not be empty"),
        (Column("tag", Kind.NAME, filled=True), ["x", ""], "must not be empty"),
    ],
)
def test_a_value_beyond_the_columns_limits_is_found(
    column: Column, texts: list[str | None], wrong: str
) -> None:
    assert check(pa.array(texts, pa.string()), column)[1] == {1: wrong}


def test_the_first_problem_of_a_row_is_told() -> None:
    batch = pa.record_batch({"a": ["x"], "b": ["y"]})
    columns = [Column("a", Kind.INTEGER, filled=True), Column("b", Kind.INTEGER)]
    _, problems = check_batch(batch, columns)
    assert (problems[0].columns, problems[0].wrong) == (("a",), "is not a whole number")


def told(value: object) -> str:
    """Name a case alike in every process."""
    return str(value.type) if isinstance(value, pa.Array) else str(value)


NOON = datetime(2016, 5, 18, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "cells", "value"),
    [
        (Kind.INTEGER, pa.array([7], pa.int16()), 7),
        (Kind.INTEGER, pa.array([7], pa.uint64()), 7),
        (Kind.INTEGER, pa.array([7.0]), 7),
        (Kind.INTEGER, pa.array(["7"]).dictionary_encode(), 7),
        (Kind.INTEGER, pa.array([float("nan")]), None),
        (Kind.REAL, pa.array([7]), 7.0),
        (Kind.REAL, pa.array([0.5], pa.float32()), 0.5),
        (Kind.REAL, pa.array([float("nan")]), None),
        (Kind.SINGLE, pa.array([0.1]), pytest.approx(0.1)),
        (Kind.BOOLEAN, pa.array([True]), True),
        (Kind.BOOLEAN, pa.array([0], pa.int8()), False),
        (Kind.INSTANT, pa.array([NOON.replace(tzinfo=None)], pa.timestamp("ms")), NOON),
        (Kind.INSTANT, pa.array([NOON], pa.timestamp("ns", "+03:00")), NOON),
        (Kind.INSTANT, pa.array([1463572800_000000_999], pa.timestamp("ns")), NOON),
        (Kind.INSTANT, pa.array([date(2016, 5, 18)]), NOON.replace(hour=0)),
        (Kind.INSTANT, pa.array(["2016-05-18 12:00"]), NOON),
        (Kind.TEXT, pa.array([748]), "748"),
        (Kind.TEXT, pa.array(["Dans"]).dictionary_encode(), "Dans"),
        (Kind.TEXT, pa.array(["Dans"], pa.large_string()), "Dans"),
        (Kind.TEXT, pa.nulls(1), None),
        (Kind.INSTANT, pa.nulls(1), None),
    ],
    ids=told,
)
def test_typed_cells_are_taken_as_they_are(kind: Kind, cells: pa.Array, value: object) -> None:
    assert check(cells, Column("c", kind)) == ([value], {})


@pytest.mark.parametrize(
    ("kind", "cells"),
    [
        (Kind.INTEGER, pa.array([2**63], pa.uint64())),
        (Kind.INTEGER, pa.array([7.5])),
        (Kind.INTEGER, pa.array([True])),
        (Kind.REAL, pa.array([float("inf")])),
        (Kind.BOOLEAN, pa.array([2])),
        (Kind.INSTANT, pa.array([1463538600])),
        (Kind.INSTANT, pa.array([2**62], pa.timestamp("s"))),
    ],
    ids=told,
)
def test_typed_cells_that_do_not_fit_are_found(kind: Kind, cells: pa.Array) -> None:
    assert set(check(cells, Column("c", kind))[1]) == {0}


OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.datetimes(
    min_value=datetime.fromisoformat("0001-01-02"),
    max_value=datetime.fromisoformat("9999-12-30"),
    timezones=OFFSETS,
)


@given(st.lists(MOMENTS, min_size=1))
@settings(deadline=None)
def test_any_instant_python_writes_is_read(moments: list[datetime]) -> None:
    texts = pa.array([moment.isoformat() for moment in moments])
    assert check(texts, Column("c", Kind.INSTANT)) == (moments, {})


@given(
    st.lists(st.one_of(st.integers(), st.text(alphabet="0123456789.-x", max_size=22)), min_size=1)
)
@settings(deadline=None)
def test_any_text_is_an_integer_or_found(cells: list[int | str]) -> None:
    texts = [str(cell) for cell in cells]
    values, problems = check(pa.array(texts), Column("c", Kind.INTEGER))
    for place, (text, value) in enumerate(zip(texts, values, strict=True)):
        if place in problems or not text:
            assert value is None
        else:
            assert value == int(text.partition(".")[0])
    for cell, place in ((cell, place) for place, cell in enumerate(cells) if isinstance(cell, int)):
        assert (place in problems) == (not -(2**63) <= cell < 2**63)


def test_no_cells_are_no_problem() -> None:
    for kind in Kind:
        values, findings = check_cells(pa.array([], pa.string()), Column("c", kind, filled=True))
        assert len(values) == 0
        assert not any(finding.bad.any() for finding in findings)
