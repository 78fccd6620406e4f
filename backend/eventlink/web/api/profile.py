"""Routes of the profile: who I am, what I like, what and whom I never want to be shown.

What does not live here: passwords and tokens (``web.api.auth``).
"""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from eventlink.db import profile as stored
from eventlink.db.accounts import Account
from eventlink.db.profile import Liking, NamedOrganizer, Tag
from eventlink.services import profile
from eventlink.web.errors import answers
from eventlink.web.fields import Body, Id, IdField, Language, Latitude, Longitude, Name
from eventlink.web.refresh import refreshes_ranking
from eventlink.web.requests import CurrentUser, Transaction

router = APIRouter(prefix="/profile", tags=["profile"], responses=answers(401, 503))


@dataclass(frozen=True)
class Profile:
    """A user, as shown to themselves."""

    id: int
    email: str | None
    full_name: str | None
    role: str
    city: str | None
    lat: float | None
    lon: float | None
    language: str | None


class ProfileChange(Body):
    """What changes; what is left out stays, and null forgets."""

    full_name: Name | None = Field(default=None, examples=["Ana Pop"])
    city: Name | None = Field(default=None, examples=["Cluj-Napoca"])
    lat: Latitude | None = Field(default=None, examples=[46.77])
    lon: Longitude | None = Field(default=None, examples=[23.6])
    language: Language | None = Field(default=None, examples=["ro"])


class Interests(Body):
    """All the tags that a user likes."""

    tag_ids: Annotated[list[IdField], Field(max_length=200, examples=[[3, 17]])]


@router.get("")
def show(user: CurrentUser) -> Profile:
    """Tell who I am."""
    return _profile(user)


@router.patch("", responses=answers(400, 409), dependencies=[refreshes_ranking])
def change(change: ProfileChange, user: CurrentUser, conn: Transaction) -> Profile:
    """Change who I am, where I live, which language I read."""
    return _profile(profile.change_profile(conn, user, change.model_dump(exclude_unset=True)))


def _profile(user: Account) -> Profile:
    return Profile(**{name: getattr(user, name) for name in Profile.__dataclass_fields__})


@router.get("/export")
def export(user: CurrentUser, conn: Transaction) -> dict[str, list[dict[str, Any]]]:
    """Take all that is stored of me, by what it is."""
    return stored.personal_data(conn, user.id)


@router.get("/interests")
def interests(user: CurrentUser, conn: Transaction) -> list[Tag]:
    """List the tags I like."""
    return stored.liked_tags(conn, user.id, Liking.INTEREST)


@router.put("/interests", responses=answers(400, 404), dependencies=[refreshes_ranking])
def replace_interests(wanted: Interests, user: CurrentUser, conn: Transaction) -> list[Tag]:
    """Like these tags and no others."""
    profile.like_only(conn, user.id, Liking.INTEREST, wanted.tag_ids)
    return stored.liked_tags(conn, user.id, Liking.INTEREST)


@router.put(
    "/interests/{tag_id}",
    status_code=204,
    responses=answers(404, 409),
    dependencies=[refreshes_ranking],
)
def add_interest(tag_id: Id, user: CurrentUser, conn: Transaction) -> None:
    """Like a tag. It is hidden no longer."""
    profile.like(conn, user.id, Liking.INTEREST, tag_id)


@router.delete("/interests/{tag_id}", status_code=204, dependencies=[refreshes_ranking])
def remove_interest(tag_id: Id, user: CurrentUser, conn: Transaction) -> None:
    """Like a tag no longer."""
    stored.remove(conn, user.id, Liking.INTEREST, [tag_id])


@router.get("/hidden-tags")
def hidden_tags(user: CurrentUser, conn: Transaction) -> list[Tag]:
    """List the tags I never want to be shown."""
    return stored.liked_tags(conn, user.id, Liking.HIDDEN)


@router.put(
    "/hidden-tags/{tag_id}",
    status_code=204,
    responses=answers(404, 409),
    dependencies=[refreshes_ranking],
)
def hide_tag(tag_id: Id, user: CurrentUser, conn: Transaction) -> None:
    """Never show me events with a tag. I like it no longer."""
    profile.like(conn, user.id, Liking.HIDDEN, tag_id)


@router.delete("/hidden-tags/{tag_id}", status_code=204, dependencies=[refreshes_ranking])
def unhide_tag(tag_id: Id, user: CurrentUser, conn: Transaction) -> None:
    """Show me events with a tag again."""
    stored.remove(conn, user.id, Liking.HIDDEN, [tag_id])


@router.get("/followed-organizers")
def followed_organizers(user: CurrentUser, conn: Transaction) -> list[NamedOrganizer]:
    """List the organizers I follow."""
    return stored.liked_organizers(conn, user.id, Liking.FOLLOWED)


@router.put(
    "/followed-organizers/{organizer_id}",
    status_code=204,
    responses=answers(404, 409),
    dependencies=[refreshes_ranking],
)
def follow(organizer_id: Id, user: CurrentUser, conn: Transaction) -> None:
    """Follow an organizer. They are blocked no longer."""
    profile.like(conn, user.id, Liking.FOLLOWED, organizer_id)


@router.delete(
    "/followed-organizers/{organizer_id}", status_code=204, dependencies=[refreshes_ranking]
)
def unfollow(organizer_id: Id, user: CurrentUser, conn: Transaction) -> None:
    """Follow an organizer no longer."""
    stored.remove(conn, user.id, Liking.FOLLOWED, [organizer_id])


@router.get("/blocked-organizers")
def blocked_organizers(user: CurrentUser, conn: Transaction) -> list[NamedOrganizer]:
    """List the organizers whose events I never want to be shown."""
    return stored.liked_organizers(conn, user.id, Liking.BLOCKED)


@router.put(
    "/blocked-organizers/{organizer_id}",
    status_code=204,
    responses=answers(404, 409),
    dependencies=[refreshes_ranking],
)
def block(organizer_id: Id, user: CurrentUser, conn: Transaction) -> None:
    """Never show me an organizer's events. I follow them no longer."""
    profile.like(conn, user.id, Liking.BLOCKED, organizer_id)


@router.delete(
    "/blocked-organizers/{organizer_id}", status_code=204, dependencies=[refreshes_ranking]
)
def unblock(organizer_id: Id, user: CurrentUser, conn: Transaction) -> None:
    """Show me an organizer's events again."""
    stored.remove(conn, user.id, Liking.BLOCKED, [organizer_id])
