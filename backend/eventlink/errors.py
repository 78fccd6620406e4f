"""The error tree: every failure a person can cause or mend, with its exit code.

What does not live here: programming errors, which stay ordinary Python exceptions.
Each message says what is wrong and what to do, in one line; ``docs/cli.md`` lists the codes.
"""


class EventLinkError(Exception):
    """Base of everything the command line turns into one line and an exit code."""

    exit_code = 1


class InvalidOptionError(EventLinkError):
    """An option has a value outside its range."""

    exit_code = 2


class DatabaseUnreachableError(EventLinkError):
    """No connection to Postgres could be made."""

    exit_code = 3


class MigrationsMissingError(EventLinkError):
    """The database's tables are not those of this version."""

    exit_code = 4


class NoUsersError(EventLinkError):
    """There is nobody to recommend to."""

    exit_code = 5


class NoEventsError(EventLinkError):
    """There is nothing to recommend."""

    exit_code = 6


class NoPositivesError(EventLinkError):
    """There is no registration, favourite or interaction to learn from."""

    exit_code = 7


class UnknownUserError(EventLinkError):
    """The user does not exist, or is not an active student."""

    exit_code = 8


class ModelMismatchError(EventLinkError):
    """A stored model cannot score with this version's features."""

    exit_code = 9


class ModelVersionTakenError(EventLinkError):
    """A model of that version is already stored."""

    exit_code = 10


class RecomputeRunningError(EventLinkError):
    """Another recompute holds the lock."""

    exit_code = 11


class PublishRefusedError(EventLinkError):
    """The new generation failed a gate and was not published."""

    exit_code = 12


class InvalidInstantError(EventLinkError):
    """An instant is not ISO 8601."""

    exit_code = 13


class BadRowError(EventLinkError):
    """A row of an imported file cannot be taken."""

    exit_code = 14


class BadFileError(EventLinkError):
    """A folder or file to import or export cannot be used."""

    exit_code = 15


class NotEmptyError(EventLinkError):
    """A command that fills an empty database found rows in it."""

    exit_code = 16


class WorkerKilledError(EventLinkError):
    """A process that shared the work was killed from outside."""

    exit_code = 17


class AttemptLostError(EventLinkError):
    """The job was cancelled, or another worker took it over."""

    exit_code = 18


class WeakSecretError(EventLinkError):
    """SECRET_KEY is missing or too short to serve with."""

    exit_code = 19


class ClusterUnreachableError(EventLinkError):
    """The Ray cluster does not answer, or is of another version."""

    exit_code = 21


class WorkerSilentError(EventLinkError):
    """The worker that was asked for shows no sign of life."""

    exit_code = 22


class RightMissingError(EventLinkError):
    """The database's user lacks a right, or has no schema to work in."""

    exit_code = 23


class RefusedError(EventLinkError):
    """What was asked is not allowed, not there, or in conflict with what is."""

    exit_code = 20
    status = 400
    """The HTTP status that it is answered with."""


class NotAuthenticatedError(RefusedError):
    """No valid access token came with the request."""

    status = 401


class NotAllowedError(RefusedError):
    """The user's role does not allow it."""

    status = 403


class NotFoundError(RefusedError):
    """There is no such thing, or not for this user."""

    status = 404


class ConflictError(RefusedError):
    """It contradicts what is stored: an address taken, an event full."""

    status = 409


class InvalidRequestError(RefusedError):
    """The request's values make no sense together."""

    status = 422


class TooManyRequestsError(RefusedError):
    """The user or the address asks too often."""

    status = 429

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds after which it may be asked again."""
