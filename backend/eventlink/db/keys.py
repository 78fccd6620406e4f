"""What the indices of a Dataset stand for in the database.

What does not live here: reading (``db.columns``).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Keys:
    """What an index of the Dataset stands for in the database; ids and words are sorted."""

    users: Ids
    events: Ids
    organizers: Ids
    tags: Ids
    tag_names: pa.Array
    """In lower case, for each tag."""
    cities: pa.Array
    categories: pa.Array
    languages: pa.Array

    def user_index(self, user_id: int) -> int | None:
        """Return the index of a user, or None if there is no such user."""
        place = int(np.searchsorted(self.users, user_id))
        found = place < len(self.users) and self.users[place] == user_id
        return place if found else None
