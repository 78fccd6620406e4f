"""Packing: a ranker on its way to other processes, without the rows of single people.

What does not live here: the way itself (``services.cluster``). What is packed is read by the same
version of this code and never stored; models are stored as JSON.
"""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt

from eventlink.recsys.dataset import Dataset, Ints
from eventlink.recsys.exploration import Explorer
from eventlink.recsys.features.demand import Demand
from eventlink.recsys.features.place import Place
from eventlink.recsys.persons import Persons
from eventlink.recsys.ranking import Ranker
from eventlink.recsys.snapshot import Snapshot

PERSONAL: Mapping[type, frozenset[str]] = {
    Dataset: frozenset(
        {
            "users",
            "interests",
            "hidden_tags",
            "follows",
            "blocks",
            "registrations",
            "favorites",
            "interactions",
            "intents",
        }
    ),
    Snapshot: frozenset(
        {name for name, value in vars(Persons).items() if isinstance(value, cached_property)}
        | {"going", "members", "registrants"}
    ),
    Demand: frozenset({"log", "column", "newcomers"}),
    Place: frozenset({"cell"}),
    Explorer: frozenset({"users", "luck"}),
}
"""Attributes that grow with the number of users and stay behind. Whoever asks for one that was
left gets an error, and not an empty answer."""


@dataclass(frozen=True)
class Packed:
    """A ranker in pieces, of which the large ones can be shared between processes."""

    frame: bytes
    arrays: list[npt.NDArray[np.uint8]]
    """The contents of its arrays; not copied, neither when packed nor when unpacked."""

    @property
    def n_bytes(self) -> int:
        """How large it is."""
        return len(self.frame) + sum(array.nbytes for array in self.arrays)


def pack(ranker: Ranker, users: Ints) -> Packed:
    """Pack what ranks anybody whose rows are read later: events, crowd, model and rules.

    What is computed on first use is computed now, for it takes the rows that are left behind.

    Args:
        ranker: Of everybody.
        users: Some of those it may be asked for.
    """
    ranker.rank(users[:1], 1)
    buffers: list[pickle.PickleBuffer] = []
    frame = BytesIO()
    _Packer(frame, protocol=5, buffer_callback=buffers.append).dump(ranker)
    arrays = [np.frombuffer(buffer.raw(), np.uint8) for buffer in buffers]
    return Packed(frame.getvalue(), arrays)


def unpack(packed: Packed) -> Ranker:
    """Put a ranker together again; it can be asked for ``Persons`` and for nobody else.

    Its arrays are those that were packed. Where they are shared they cannot be written to.

    Args:
        packed: By ``pack``, of the same version of this code.
    """
    ranker: Ranker = pickle.loads(packed.frame, buffers=packed.arrays)  # noqa: S301 (our own, sent)
    return ranker


class _Packer(pickle.Pickler):
    """Leaves behind what is personal."""

    def reducer_override(self, thing: Any) -> Any:
        left = PERSONAL.get(type(thing))
        if left is None:
            return NotImplemented
        kept = {name: value for name, value in vars(thing).items() if name not in left}
        return object.__new__, (type(thing),), kept
