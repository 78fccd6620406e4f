"""From cells to typed values: what each must be, checked a column at a time.

What does not live here: files (``sources``) and what must hold between rows (``db.interchange``).
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from eventlink.importers.format import LONGEST_NAME, Column, Kind

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Problem:
    """What is wrong with a row: ``columns`` (none: the whole row), and a phrase to go on with."""

    columns: tuple[str, ...]
    wrong: str


@dataclass(frozen=True)
class Finding:
    """Which cells of a column are wrong, and how."""

    bad: Mask
    wrong: str


def check_batch(
    batch: pa.RecordBatch, columns: Sequence[Column]
) -> tuple[pa.RecordBatch, dict[int, Problem]]:
    """Turn a batch of cells into typed values.

    Args:
        batch: Columns of any Arrow type, named like ``columns``; CSV gives text.
        columns: What they must be.

    Returns:
        The values (meaningless in rows with a problem), and each bad row's first problem by its
        place in the batch.
    """
    problems: dict[int, Problem] = {}
    values = []
    for column in columns:
        array, findings = check_cells(batch.column(column.name), column)
        values.append(array)
        for finding in findings:
            for place in np.flatnonzero(finding.bad).tolist():
                problems.setdefault(place, Problem((column.name,), finding.wrong))
    return pa.record_batch(values, names=[column.name for column in columns]), problems


def check_cells(cells: pa.Array, column: Column) -> tuple[pa.Array, list[Finding]]:
    """Turn the cells of one column into typed values.

    Args:
        cells: An Arrow array of any flat type.
        column: What they must be.

    Returns:
        The values, of type ``column.kind.arrow``, and what is wrong with which.
    """
    if _is_native(cells.type, column.kind):
        values, findings = _native(cells, column.kind)
    else:
        text, findings = _text(cells)
        values, found = _PARSERS[column.kind](text, column.kind)
        findings += found
    if column.filled:
        # A cell that is wrong in another way is null too; its first problem counts.
        findings.append(Finding(_true(pc.is_null(values)), "must not be empty"))
    findings += _limits(values, column)
    return values, findings


def _limits(values: pa.Array, column: Column) -> list[Finding]:
    findings = []
    if column.kind in {Kind.REAL, Kind.SINGLE}:
        infinite = pc.invert(pc.is_finite(values))
        findings.append(Finding(_true(infinite), f"is not {column.kind.words}"))
    if column.low is not None:
        outside = pc.less(values, column.low)
        wrong = f"is less than {column.low}"
        if column.high is not None:
            outside = pc.or_(outside, pc.greater(values, column.high))
            wrong = f"is not between {column.low} and {column.high}"
        findings.append(Finding(_true(outside), wrong))
    if column.choices:
        known = pc.is_in(values, pa.array(column.choices))
        unknown = pc.and_not(pc.is_valid(values), known)
        findings.append(Finding(_true(unknown), f"is not one of {', '.join(column.choices)}"))
    return findings


def _true(mask: pa.Array) -> Mask:
    return mask.fill_null(False).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def _is_native(kind: pa.DataType, wanted: Kind) -> bool:
    """Tell whether an Arrow type holds the wanted values as such, not as a spelling of them."""
    types = pa.types
    if wanted is Kind.INTEGER:
        return types.is_integer(kind) and not types.is_uint64(kind)
    if wanted in {Kind.REAL, Kind.SINGLE}:
        return types.is_floating(kind) or types.is_integer(kind)  # type: ignore[no-any-return]
    if wanted is Kind.BOOLEAN:
        return types.is_boolean(kind)  # type: ignore[no-any-return]
    return wanted is Kind.INSTANT and (types.is_timestamp(kind) or types.is_date(kind))


def _native(cells: pa.Array, kind: Kind) -> tuple[pa.Array, list[Finding]]:
    if pa.types.is_floating(cells.type):
        cells = _without_nan(cells)
    # A digit after the microsecond is dropped; all else that does not fit is an error.
    safe = not (pa.types.is_timestamp(cells.type) and cells.type.unit == "ns")
    if kind in {Kind.REAL, Kind.SINGLE}:
        safe = False  # rounding to a float is no error
    values, failed = _attempt(cells, lambda part: pc.cast(part, kind.arrow, safe=safe))
    findings = [Finding(failed, f"is not {kind.words}")]
    if kind is Kind.INSTANT:
        findings.append(_calendar(values))
    return values, findings


def _without_nan(cells: pa.Array) -> pa.Array:
    """Not-a-number is how data frames write "nothing"."""
    return pc.if_else(pc.is_nan(cells), pa.scalar(None, cells.type), cells)


def _text(cells: pa.Array) -> tuple[pa.Array, list[Finding]]:
    """Any cells as text; what is not UTF-8 becomes null."""
    if pa.types.is_dictionary(cells.type):
        cells = cells.dictionary_decode()
    if pa.types.is_floating(cells.type):
        cells = _without_nan(cells)
    if pa.types.is_string(cells.type):
        cells = cells.cast(pa.binary())  # for casting back is what checks the encoding
    text, failed = _attempt(cells, lambda part: pc.cast(part, pa.string()))
    nul = _true(pc.match_substring(text, "\0"))
    if nul.any():
        text = _keep(text, ~nul)
    return text, [Finding(failed, "is not UTF-8"), Finding(nul, "contains a NUL character")]


def _attempt(cells: pa.Array, convert: Callable[[pa.Array], pa.Array]) -> tuple[pa.Array, Mask]:
    """Convert all cells that can be; halve until those that cannot are found, and null them.

    Arrow says that a cell of an array cannot be converted, but not which.
    """
    try:
        return convert(cells), np.zeros(len(cells), bool)
    except pa.ArrowInvalid:
        if len(cells) == 1:
            return convert(pa.nulls(1, cells.type)), np.ones(1, bool)
    half = len(cells) // 2
    left, left_failed = _attempt(cells[:half], convert)
    right, right_failed = _attempt(cells[half:], convert)
    return pa.concat_arrays([left, right]), np.concatenate([left_failed, right_failed])


def _keep(text: pa.Array, kept: Mask) -> pa.Array:
    return pc.if_else(pa.array(kept), text, pa.scalar(None, text.type))


def _without_empty(text: pa.Array) -> pa.Array:
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)


def _matching(text: pa.Array, pattern: str) -> tuple[pa.Array, Mask]:
    """Null the texts that do not match, and the empty ones; say which did not match."""
    text = _without_empty(text)
    wrong = _true(pc.invert(pc.match_substring_regex(text, pattern)))
    return (_keep(text, ~wrong) if wrong.any() else text), wrong


def _parse_integer(text: pa.Array, kind: Kind) -> tuple[pa.Array, list[Finding]]:
    text, wrong = _matching(text, r"^-?[0-9]+(\.0*)?$")
    if not pc.all(pc.ascii_is_decimal(text), min_count=0).as_py():
        text = pc.replace_substring_regex(text, r"\.0*$", "")  # data frames write 50.0
    values, failed = _attempt(text, lambda part: pc.cast(part, kind.arrow))
    return values, [
        Finding(wrong, f"is not {kind.words}"),
        Finding(failed, "is too large: more than 64 bits"),
    ]


def _parse_real(text: pa.Array, kind: Kind) -> tuple[pa.Array, list[Finding]]:
    text, wrong = _matching(text, r"^-?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$")
    return pc.cast(text, kind.arrow), [Finding(wrong, f"is not {kind.words}")]


def _parse_boolean(text: pa.Array, kind: Kind) -> tuple[pa.Array, list[Finding]]:
    text, wrong = _matching(text, r"^(?i:true|false|t|f|1|0)$")  # t and f are PostgreSQL's own
    values = pc.is_in(pc.utf8_lower(text), pa.array(["true", "t", "1"]))
    return pc.if_else(pc.is_valid(text), values, pa.scalar(None, pa.bool_())), [
        Finding(wrong, f"is not {kind.words}")
    ]


_INSTANT = r"^\d{4}-\d\d-\d\d([Tt ]\d\d(:\d\d(:\d\d([.,]\d+)?)?)? ?([Zz]|[+-]\d\d(:?\d\d)?)?)?$"


def _parse_instant(text: pa.Array, kind: Kind) -> tuple[pa.Array, list[Finding]]:
    values, failed = None, None
    try:
        values = pc.cast(_without_empty(text), kind.arrow)  # where all are as we write them
    except pa.ArrowInvalid:
        text, wrong = _matching(text, _INSTANT)
        values, failed = _attempt(_plain_instants(text), lambda part: pc.cast(part, kind.arrow))
        failed |= wrong
    findings = [_calendar(values)]
    if failed is not None:
        findings.append(Finding(failed, f"is not {kind.words}"))
    return values, findings


def _plain_instants(text: pa.Array) -> pa.Array:
    """Rewrite the freedoms of ISO 8601 to the one spelling that Arrow reads, with an offset."""
    text = pc.utf8_upper(text)
    text = pc.replace_substring_regex(text, r"[.,](\d{1,6})\d*", r".\1")
    text = pc.replace_substring_regex(text, r" ?(Z|[+-]\d\d:?\d\d|[+-]\d\d)$", r"\1")
    text = pc.replace_substring_regex(text, r"^(\d{4}-\d\d-\d\d)$", r"\1T00:00Z")
    return pc.replace_substring_regex(text, r"^(.{11}[0-9:.]+)$", r"\1Z")


_FIRST_DAY, _LAST_DAY = -62135596800000000, 253402300799999999
"""0001-01-01 and the end of 9999-12-31 in microseconds, the years of four digits."""


def _calendar(instants: pa.Array) -> Finding:
    numbers = instants.cast(pa.int64())
    outside = pc.or_(pc.less(numbers, _FIRST_DAY), pc.greater(numbers, _LAST_DAY))
    return Finding(_true(outside), "is not in the years 1 to 9999")


def _parse_text(text: pa.Array, kind: Kind) -> tuple[pa.Array, list[Finding]]:
    del kind
    return text, []


def _parse_name(text: pa.Array, kind: Kind) -> tuple[pa.Array, list[Finding]]:
    text = _without_empty(text)
    too_long = pc.greater(pc.binary_length(text), LONGEST_NAME)
    return text, [Finding(_true(too_long), f"is not {kind.words}")]


def _parse_json(text: pa.Array, kind: Kind) -> tuple[pa.Array, list[Finding]]:
    text = _without_empty(text)
    distinct = text.unique()
    bad = [value for value in distinct.to_pylist() if value is not None and not _is_json(value)]
    wrong = pc.is_in(text, pa.array(bad, pa.string()))
    return text, [Finding(_true(wrong), f"is not {kind.words}")]


_NUL_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def _is_json(text: str) -> bool:
    """Tell whether PostgreSQL's ``jsonb`` takes a text: stricter than Python about some values."""
    try:
        value = json.loads(text, parse_float=_float, parse_constant=_constant)
        json.dumps(value, ensure_ascii=False).encode()  # half of a surrogate pair has no UTF-8
    except (ValueError, RecursionError):
        return False
    return _NUL_ESCAPE.search(text) is None


def _float(text: str) -> float:
    if abs(Decimal(text).adjusted()) > 16000:  # numeric has 16383 digits after the point
        raise ValueError(text)
    return 0.0


def _constant(text: str) -> Any:
    raise ValueError(text)  # NaN and the infinities are no JSON


_PARSERS: dict[Kind, Callable[[pa.Array, Kind], tuple[pa.Array, list[Finding]]]] = {
    Kind.INTEGER: _parse_integer,
    Kind.REAL: _parse_real,
    Kind.SINGLE: _parse_real,
    Kind.BOOLEAN: _parse_boolean,
    Kind.INSTANT: _parse_instant,
    Kind.TEXT: _parse_text,
    Kind.NAME: _parse_name,
    Kind.JSON: _parse_json,
}
