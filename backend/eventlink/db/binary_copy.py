"""PostgreSQL's binary COPY format for rows of ``recommendation_lists``, made by numpy.

What does not live here: when it is sent. Format: PostgreSQL documentation, COPY, "Binary Format",
and the array layout of ``array_send`` (dimensions, null flag, element type, then the elements).

Lists of equal length have equal layout, so all rows of one length are one structured array.
"""

import numpy as np
import numpy.typing as npt

from eventlink.recsys.dataset import Ints
from eventlink.recsys.matrices import Dense

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"

INT8, INT2, FLOAT4 = 20, 21, 700
"""Object ids of the element types."""

Ids = npt.NDArray[np.int64]


def encode_lists(
    generation: int,
    user_ids: Ids,
    lengths: npt.NDArray[np.integer],
    event_ids: Ids,
    scores: Dense,
    reason_codes: Ints,
    reason_args: Ids,
) -> bytes:
    """Encode rows of (generation, user_id, event_ids, scores, reason_codes, reason_args).

    Args:
        generation: The same for all rows.
        user_ids: Shape (n,).
        lengths: How many places of each list are used, shape (n,).
        event_ids: Shape (n, longest); likewise scores, reason_codes and reason_args.
        scores: Probabilities.
        reason_codes: Counted from 1.
        reason_args: 0 for none.

    Returns:
        Tuples without header and trailer; rows of one length stand together.
    """
    encoded = []
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        out = np.zeros(len(rows), _layout(int(length)))
        out["n_fields"] = 6
        for scalar, value in (("generation", generation), ("user_id", user_ids[rows])):
            out[scalar]["size"] = 8
            out[scalar]["value"] = value
        for name, element, values in (
            ("event_ids", INT8, event_ids),
            ("scores", FLOAT4, scores),
            ("reason_codes", INT2, reason_codes),
            ("reason_args", INT8, reason_args),
        ):
            _fill(out[name], element, values[rows, :length])
        encoded.append(out.tobytes())
    return b"".join(encoded)


def _layout(length: int) -> np.dtype[np.void]:
    scalar = [("size", ">i4"), ("value", ">i8")]
    return np.dtype(
        [
            ("n_fields", ">i2"),
            ("generation", scalar),
            ("user_id", scalar),
            ("event_ids", _array(">i8", length)),
            ("scores", _array(">f4", length)),
            ("reason_codes", _array(">i2", length)),
            ("reason_args", _array(">i8", length)),
        ]
    )


def _array(element: str, length: int) -> list[tuple[str, object]]:
    head: list[tuple[str, object]] = [
        ("size", ">i4"),
        ("n_dimensions", ">i4"),
        ("has_null", ">i4"),
        ("element_type", ">i4"),
    ]
    if length == 0:
        return head
    items = ("items", [("size", ">i4"), ("value", element)], (length,))
    return [*head, ("length", ">i4"), ("lower_bound", ">i4"), items]  # type: ignore[list-item]


def _fill(out: npt.NDArray[np.void], element_type: int, values: npt.NDArray[np.generic]) -> None:
    out["size"] = out.dtype.itemsize - 4
    out["element_type"] = element_type
    if values.shape[1] == 0:
        return
    out["n_dimensions"] = 1
    out["length"] = values.shape[1]
    out["lower_bound"] = 1
    out["items"]["size"] = out["items"]["value"].dtype.itemsize
    out["items"]["value"] = values
