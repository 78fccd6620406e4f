"""Settings: what a machine or a site decides, read from the environment once.

What does not live here: options of the mathematics (``recsys.options``), but for those that say
what a site's lists are to be like, and anything that knows a table.
"""

import os
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails, PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

from eventlink.errors import InvalidOptionError

PROJECT_ROOT = Path(__file__).resolve().parents[2]
YEAR = 365 * 24 * 3600
LEAST_KEPT_DAYS = 90
"""Of interactions: training needs four weeks, and each day of them the two months before it."""
ORIGIN = re.compile(r"https?://[^\s/?#@,*]+", re.IGNORECASE)
"""A site as browsers name it (RFC 6454); a path would never match."""
OPTIONS_OF_LISTS = (
    "top_n",
    "head",
    "per_organizer",
    "collapse_series",
    "demote_overlaps",
    "explore_slots",
    "seat_strength",
)
"""Settings, without their prefix, that are options of a recompute as well."""


class Settings(BaseSettings):
    """Typed settings; each is an environment variable of the same name, in any case."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    database_url: str | None = Field(
        default=None,
        description="A postgresql:// address, server 15 or newer. Unset: an embedded PostgreSQL.",
    )
    eventlink_data_dir: Path = Field(
        default=PROJECT_ROOT / ".eventlink",
        description="Where the embedded PostgreSQL keeps its files.",
    )
    log_format: Literal["auto", "console", "json"] = Field(
        default="auto",
        description="`console`, `json`, or `auto`: json of `serve` and `worker` away from a"
        " terminal, else console.",
    )
    log_level: Literal["debug", "info", "warn", "warning", "error", "critical"] = Field(
        default="info",
        description="The least that is logged: `debug`, `info`, `warn` or `warning`, `error`,"
        " `critical`.",
    )
    environment: Literal["production", "development"] = Field(
        default="production",
        description="`production`, or `development`: serves with any `SECRET_KEY`.",
    )
    secret_key: str = Field(
        default="",
        description="Signs tokens and request ids; 32 characters or more to serve in production.",
    )
    allowed_origins: str = Field(
        default="",
        description="Sites whose pages may ask from a browser: `https://city.example`, several"
        " with commas between them.",
    )
    recommendations_use_ml_cache: bool = Field(
        default=True,
        description="Serve the stored rankings; off: the heuristic answers everybody.",
    )
    recommendations_cache_max_age_seconds: float = Field(
        default=36 * 3600,
        gt=0,
        le=10 * YEAR,
        description="Age from which a stored ranking is stale and the heuristic answers.",
    )
    task_queue_enabled: bool = Field(
        default=True,
        description="Whether the web may queue jobs and mark users for a refresh.",
    )
    recommendations_realtime_refresh_enabled: bool = Field(
        default=True,
        description="Refresh a user's ranking after what the user does.",
    )
    recommendations_realtime_refresh_min_interval_seconds: float = Field(
        default=5,
        ge=0,
        le=YEAR,
        description="Least time between two refreshes of one user.",
    )
    recommendations_top_n: int = Field(
        default=50,
        ge=1,
        le=1000,
        description="Events to store for each user.",
    )
    recommendations_head: int = Field(
        default=10,
        ge=1,
        le=100,
        description="First places of a list, for the rules of organizers, series and exploration.",
    )
    recommendations_per_organizer: int = Field(
        default=0,
        ge=0,
        description="Most events of one organizer in the head; 0 for any number.",
    )
    recommendations_collapse_series: bool = Field(
        default=False,
        description="Show each series once in the head, but to its regulars.",
    )
    recommendations_demote_overlaps: bool = Field(
        default=False,
        description="Move down what overlaps with an event one is registered for.",
    )
    recommendations_explore_slots: int = Field(
        default=0,
        ge=0,
        description="Places of the head that go to events that little is known of.",
    )
    recommendations_seat_strength: float = Field(
        default=0.25,
        ge=0,
        le=10,
        description="How strongly scarce seats hold an event back; 0 turns it off.",
    )
    recommendations_control_share: float = Field(
        default=0,
        ge=0,
        le=0.5,
        description="Share of students the heuristic answers, to compare with; 0: no experiment.",
    )
    recommendations_experiment: str = Field(
        default="1",
        description="Name of the experiment; a new one draws anew who is in its control arm.",
    )
    recommendations_guardrail: bool = Field(
        default=True,
        description="Take a model back that surely does harm, while an experiment runs.",
    )
    interactions_kept_days: int = Field(
        default=0,
        ge=0,
        le=36_500,
        description="Days that interactions are kept, 90 or more; 0: for ever.",
    )
    worker_heartbeat_seconds: float = Field(
        default=10,
        gt=0,
        le=3600,
        description="How often a worker says that it lives; after three misses its jobs are taken.",
    )
    recompute_schedule: str | None = Field(
        default=None,
        description="When the worker queues a recompute itself: a cron line in UTC.",
    )
    rank_schedule: str | None = Field(
        default=None,
        description="When the worker queues a recompute without training: a cron line in UTC.",
    )
    metrics_token: str = Field(
        default="",
        description="Bearer token that reads `/metrics`; unset: closed in production, else open.",
    )

    @field_validator("eventlink_data_dir", mode="before")
    @classmethod
    def _is_named(cls, path: object) -> object:
        if path == "":  # would be the working directory, whichever that is
            raise PydanticCustomError("unnamed", "no folder is named")
        return path

    @field_validator("log_format", "log_level", mode="before")
    @classmethod
    def _in_any_case(cls, word: object) -> object:
        # Their names are common, and what they have may be meant for another program as well.
        return word.lower() if isinstance(word, str) else word

    @field_validator("allowed_origins")
    @classmethod
    def _are_origins(cls, named: str) -> str:
        if all(ORIGIN.fullmatch(one) for one in _split(named)):
            return named
        raise PydanticCustomError("no_origin", "not scheme, host and port")

    @field_validator("recommendations_experiment")
    @classmethod
    def _is_a_short_word(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,40}", name):
            raise PydanticCustomError("no_short_word", "not a short word")
        return name

    @field_validator("interactions_kept_days")
    @classmethod
    def _is_long_enough(cls, days: int) -> int:
        if 0 < days < LEAST_KEPT_DAYS:
            raise PydanticCustomError("too_few_days", "fewer than training needs")
        return days

    @field_validator("recommendations_explore_slots")
    @classmethod
    def _fit_the_head(cls, slots: int, known: ValidationInfo) -> int:
        # The head is declared before, so it is known here unless it is wrong itself.
        if slots >= known.data.get("recommendations_head", slots + 1):
            raise PydanticCustomError("too_many_slots", "more than there are places")
        return slots

    @property
    def origins(self) -> list[str]:
        """The sites whose pages may ask from a browser, as these call themselves."""
        return [one.lower() for one in _split(self.allowed_origins)]

    @property
    def options_of_lists(self) -> dict[str, Any]:
        """What the site's lists are to be like, by the names of ``TrainOptions``."""
        return {name: getattr(self, f"recommendations_{name}") for name in OPTIONS_OF_LISTS}

    @property
    def experiment_runs(self) -> bool:
        """Whether some are in control and others not: not where the heuristic answers everybody."""
        return self.recommendations_use_ml_cache and self.recommendations_control_share > 0

    @property
    def refreshes_enabled(self) -> bool:
        """Whether anybody's ranking is refreshed between two recomputes."""
        return self.task_queue_enabled and self.recommendations_realtime_refresh_enabled


def _split(named: str) -> list[str]:
    return [one.strip() for one in named.split(",") if one.strip()]


def meaning(name: str) -> str:
    """Return what a setting means, for the option of the same meaning."""
    return Settings.model_fields[name].description or ""


@cache
def revision() -> str:
    """Return the git revision that runs: ``EVENTLINK_REVISION``, or the checkout's."""
    named = os.environ.get("EVENTLINK_REVISION")
    if named:
        return named
    command = ["git", "-C", str(PROJECT_ROOT), "rev-parse", "HEAD"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 (constant words)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return answer.stdout.strip()


@cache
def settings() -> Settings:
    """Return the process's settings, read from the environment on the first call.

    Raises:
        InvalidOptionError: A variable has a value that it cannot have.
    """
    try:
        return Settings()
    except ValidationError as error:
        wrong = error.errors()[0]
        name = str(wrong["loc"][0]).upper()
        raise InvalidOptionError(
            f"the environment variable {name} {requirement(wrong)}, not {wrong['input']!r}"
        ) from error


REQUIREMENTS = {
    "unnamed": "must name a folder",
    "no_origin": "must name sites in full, as in https://city.example, https://two.example,"
    " without a path or *",
    "too_few_days": f"must be {LEAST_KEPT_DAYS} or above, or 0 to keep all",
    "too_many_slots": "must be below RECOMMENDATIONS_HEAD",
    "no_short_word": "must be 1 to 40 letters, digits, dots, dashes or underscores",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "bool_parsing": "must be true or false",
    "literal_error": "must be {expected}",
    "greater_than": "must be above {gt:g}",
    "greater_than_equal": "must be {ge:g} or above",
    "less_than_equal": "must be {le:.15g} or below",
}
"""What a value must be, by the name that Pydantic has for what is wrong with it."""


def requirement(wrong: ErrorDetails) -> str:
    """Say what a value from outside must be, to go on with ", not 'this'".

    Args:
        wrong: One of Pydantic's errors.
    """
    words = REQUIREMENTS.get(wrong["type"])
    if words is None:
        return f"cannot be read ({wrong['msg']})"
    return words.format(**wrong.get("ctx", {}))
