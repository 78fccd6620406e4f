"""A simulated city as the tables of the interchange format.

What does not live here: the simulation itself (``recsys.simulation``), files and the database
(``importers.simulation``).
"""

import json

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Connection

from eventlink.db import simulation as db
from eventlink.errors import NotEmptyError
from eventlink.recsys.dataset import Act, Floats, UserOrganizers, UserTags
from eventlink.recsys.progress import Report
from eventlink.recsys.simulation import City, SimulationOptions
from eventlink.recsys.simulation import simulate as simulate_city
from eventlink.recsys.simulation.catalogue import (
    CATEGORIES,
    FIRST_NAMES,
    LANGUAGES,
    LAST_NAMES,
    NEIGHBOURHOODS,
    TAGS,
)
from eventlink.recsys.simulation.relation import Index
from eventlink.recsys.simulation.scarcity import SeatOutcome, study

INSTANT = pa.timestamp("us", "UTC")
STATUSES = ("draft", "published", "cancelled")
"""By the values of ``Programme.status``."""
SEAT_STRENGTHS = (0.0, 0.125, 0.25, 0.5, 1.0, 2.0)
"""That are compared."""


def require_empty(conn: Connection) -> None:
    """Check that there is nothing that a simulated city would be mixed with.

    Args:
        conn: An open connection.

    Raises:
        NotEmptyError: There is.
    """
    found = db.occupied_table(conn)
    if found:
        raise NotEmptyError(
            f"the table {found} is not empty, and a simulated city needs an empty database; name"
            " another one in DATABASE_URL, or add --replace to delete what is there"
        )


def simulate(
    options: SimulationOptions, rng: np.random.Generator, report: Report
) -> dict[str, pa.Table]:
    """Simulate a city and write down what its platform recorded; the truth is left out.

    Args:
        options: The city's size and time.
        rng: The source of chance.
        report: Told of progress.

    Returns:
        The tables of the interchange format by name, in its order.
    """
    return interchange_tables(simulate_city(options, rng, report))


def simulate_seats(
    options: SimulationOptions, rng: np.random.Generator, report: Report
) -> list[SeatOutcome]:
    """Simulate a city and compare how strongly scarce seats may hold events back in it.

    Args:
        options: The city's size and time.
        rng: The source of chance.
        report: Told of progress.
    """
    return study(simulate_city(options, rng, report), SEAT_STRENGTHS, rng)


def interchange_tables(city: City) -> dict[str, pa.Table]:
    """Turn what a city's platform recorded into the tables of the interchange format.

    Args:
        city: A simulated city; row i of its users and events gets the id i + 1.

    Returns:
        The tables by name, in the format's order.
    """
    profiles, registrations = city.profiles, city.registrations
    return {
        "users": _users(city),
        "user_interest_tags": _user_tags(profiles.interests),
        "events": _events(city),
        "event_tags": pa.table(
            {
                "event_id": _ids(city.programme.tags.event),
                "tag": _named(city.programme.tags.tag, TAGS),
            }
        ),
        "registrations": pa.table(
            {
                "user_id": _ids(registrations.user),
                "event_id": _ids(registrations.event),
                "registered_at": _instants(registrations.at),
                "attended": pa.array(registrations.attended == 1, mask=registrations.attended < 0),
                "unregistered_at": _instants(registrations.until),
            }
        ),
        "favorites": pa.table(
            {
                "user_id": _ids(city.favorites.user),
                "event_id": _ids(city.favorites.event),
                "created_at": _instants(city.favorites.at),
            }
        ),
        "interactions": _interactions(city),
        "follows": _user_organizers(city.follows),
        "hidden_tags": _user_tags(profiles.hidden_tags),
        "blocked_organizers": _user_organizers(profiles.blocks),
    }


def _users(city: City) -> pa.Table:
    people = city.people
    first, last = _named(people.name[:, 0], FIRST_NAMES), _named(people.name[:, 1], LAST_NAMES)
    return pa.table(
        {
            "id": _ids(np.arange(len(people))),
            "role": _named(people.organizer.astype(np.int8), ("student", "organizer")),
            "city": _named(people.city, [part.city for part in NEIGHBOURHOODS]),
            "lat": pa.array(people.lat, from_pandas=True),
            "lon": pa.array(people.lon, from_pandas=True),
            "language": _named(people.english.astype(np.int8), LANGUAGES),
            "is_active": pa.array(people.enabled),
            "full_name": pc.binary_join_element_wise(first, last, " "),
            "created_at": _instants(people.joined),
        }
    )


def _events(city: City) -> pa.Table:
    programme = city.programme
    return pa.table(
        {
            "id": _ids(np.arange(len(programme))),
            "title": pa.array(programme.title),
            "category": _named(programme.category, CATEGORIES),
            "city": _named(programme.city, [part.city for part in NEIGHBOURHOODS]),
            "venue_id": pa.array(programme.venue),
            "lat": pa.array(programme.place[:, 0]),
            "lon": pa.array(programme.place[:, 1]),
            "owner_id": _ids(programme.organizer),
            "start_time": _instants(programme.start),
            "created_at": _instants(programme.created),
            "max_seats": _numbers(programme.max_seats),
            "description": pa.array(programme.description),
            "end_time": _instants(programme.end),
            "status": _named(programme.status, STATUSES),
            "publish_at": _instants(programme.publish_at),
            "deleted_at": _instants(programme.deleted),
        }
    )


def _interactions(city: City) -> pa.Table:
    """Acts on events and searches, by time."""
    acts, searches = city.interactions, city.searches
    names = [act.name.lower() for act in Act]
    on_events = pa.table(
        {
            "user_id": _ids(acts.user),
            "event_id": _ids(acts.event),
            "occurred_at": _instants(acts.at),
            "interaction_type": _named(acts.act, names),
            "position": _numbers(acts.position),
            "request_id": _requests(acts.request),
            "dwell_seconds": pa.array(acts.dwell, mask=acts.act != Act.DWELL),
            "meta": pa.nulls(len(acts), pa.string()),
        }
    )
    others = pa.table(
        {
            "user_id": _ids(searches.user),
            "event_id": pa.nulls(len(searches), pa.int64()),
            "occurred_at": _instants(searches.at),
            "interaction_type": _named(searches.act, names),
            "position": pa.nulls(len(searches), pa.int64()),
            "request_id": pa.nulls(len(searches), pa.string()),
            "dwell_seconds": pa.nulls(len(searches), pa.float32()),
            "meta": _meta(searches.act, searches.tag, searches.category),
        }
    )
    order = np.argsort(np.concatenate([acts.at, searches.at]), kind="stable")
    return pa.concat_tables([on_events, others]).take(pa.array(order))


def _meta(acts: Index, tags: Index, categories: Index) -> pa.Array:
    """What was searched or filtered for, as JSON."""
    texts = [
        *(json.dumps({"query": tag}, ensure_ascii=False) for tag in TAGS),
        *(json.dumps({"tags": [tag]}, ensure_ascii=False) for tag in TAGS),
        *(json.dumps({"category": name}, ensure_ascii=False) for name in CATEGORIES),
    ]
    of_tag = tags + np.where(acts == Act.FILTER, len(TAGS), 0)
    return _named(np.where(tags >= 0, of_tag, categories + 2 * len(TAGS)), texts)


def _user_tags(table: UserTags) -> pa.Table:
    return pa.table(
        {
            "user_id": _ids(table.user),
            "tag": _named(table.tag, TAGS),
            "created_at": _instants(table.at),
        }
    )


def _user_organizers(table: UserOrganizers) -> pa.Table:
    return pa.table(
        {
            "user_id": _ids(table.user),
            "owner_id": _ids(table.organizer),
            "created_at": _instants(table.at),
        }
    )


def _ids(index: Index) -> pa.Array:
    return pa.array(index.astype(np.int64) + 1)


def _numbers(values: Index) -> pa.Array:
    return pa.array(values.astype(np.int64), mask=values < 0)


def _instants(seconds: Floats) -> pa.Array:
    known = np.isfinite(seconds)
    microseconds: npt.NDArray[np.int64] = np.where(known, seconds * 1e6, 0).astype(np.int64)
    return pa.array(microseconds, mask=~known).cast(INSTANT)


def _named(index: Index, names: tuple[str, ...] | list[str]) -> pa.Array:
    """Return the name of each index; none for -1."""
    return pa.array(list(names), pa.string()).take(_numbers(index))


def _requests(numbers: Index) -> pa.Array:
    named = pc.binary_join_element_wise("simulated", _numbers(numbers).cast(pa.string()), "-")
    return pc.if_else(pa.array(numbers >= 0), named, pa.scalar(None, pa.string()))
