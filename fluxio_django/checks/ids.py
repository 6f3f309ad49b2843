"""The table of system checks: every id, and what it says in one line."""

from __future__ import annotations

from enum import Enum

from django.core.checks import ERROR, WARNING, CheckMessage


class CheckID(Enum):
    """The id of a check. E is an error, which stops commands; W is a warning.

    Ids are never reused: people silence them in settings. A new one goes to the end of its letter.
    """

    UNKNOWN_KEY = "fluxio.E001", "FLUXIO has an unknown key, or is no dict."
    UNFIT_VALUE = (
        "fluxio.E002",
        "A value in FLUXIO does not fit; its default is used, or nothing is shown.",
    )
    NO_STORE = "fluxio.E003", "FLUXIO['STORE'] leads to no store."
    UNKNOWN_DATABASE = "fluxio.E004", "FLUXIO['DATABASE'] is no alias of DATABASES."
    UNFIT_DATABASE = "fluxio.E005", "Runs cannot be kept in a database of this kind."
    NO_VISIBILITY = "fluxio.E006", "FLUXIO['VISIBLE_TO'] leads to no function."
    NO_DISPATCHER = "fluxio.E007", "What FLUXIO['DISPATCHER'] needs is not installed."
    NO_KEYRING = "fluxio.E008", "FLUXIO['KEYRING'] leads to no keys; nothing is stored or read."
    BROKEN_PIPELINE = "fluxio.E009", "A registered pipeline cannot be built."
    UNQUEUEABLE = "fluxio.E010", "FLUXIO['VIEWS'] starts a pipeline whose runs cannot be queued."
    DUPLICATE_NAME = "fluxio.E011", "Two pipelines are registered under one name."
    NO_CALLBACK = "fluxio.E012", "FLUXIO['CALLBACKS'] leads to something that is no callback."
    NO_AUTOCOMMIT = "fluxio.E013", "The database of runs has AUTOCOMMIT off: nothing would be kept."
    ROUTED_AWAY = "fluxio.E014", "A router keeps fluxio_django out of the database of runs."

    UNSAFE_COMMITS = "fluxio.W001", "The database reports commits before they are on disk."
    COLLIDING_SQLITE = "fluxio.W002", "SQLite lets readers and writers block each other."
    SHORT_VISIBILITY = "fluxio.W003", "Redis delivers a message again while its stage may run."
    PICKLED_MESSAGES = "fluxio.W004", "Celery accepts pickled messages."
    NO_BROKER = "fluxio.W005", "FLUXIO['DISPATCHER'] is 'celery', but Celery has no broker."
    SHARED_SQLITE = "fluxio.W006", "Workers in other processes share a SQLite file."
    MEMORY_STORE = "fluxio.W007", "A durable pipeline keeps its runs in the memory of a process."
    UNKNOWN_OPENING = "fluxio.W008", "FLUXIO['VIEWS'] opens a pipeline that is not registered."
    LASTING_CONNECTIONS = "fluxio.W009", "CONN_MAX_AGE is set, and the project has ASGI views."
    UNREACHABLE_VIEWS = "fluxio.W010", "FLUXIO['VIEWS'] is set, but the views have no addresses."
    NOBODY_SIGNED_IN = "fluxio.W011", "FLUXIO['VIEWS'] is set, but nobody can be signed in."
    UNCOUNTED_STARTS = "fluxio.W012", "FLUXIO['START_RATE'] is counted in each process alone."
    UNMIGRATED = "fluxio.W013", "Migrations of fluxio_django are not applied."
    LOOSE_COLLATION = "fluxio.W014", "A column that has to compare bytes does not."
    FORGETFUL_REDIS = "fluxio.W015", "The Redis that keeps runs throws keys away when it is full."
    UNRECORDED = "fluxio.W016", "A pipeline has a store, but is not durable: nothing is recorded."
    NARROW_TEXT = "fluxio.W017", "The database of runs cannot keep every character."
    CLOSED_CONNECTIONS = "fluxio.W018", "Celery's workers connect to the database for every run."
    SHIFTED_TIMES = "fluxio.W019", "The database of runs is read in a TIME_ZONE other than UTC."

    def __init__(self, id: str, says: str) -> None:
        self.id = id
        self.says = says

    @property
    def level(self) -> int:
        """Django's level for the letter of the id."""
        return ERROR if self.id.startswith("fluxio.E") else WARNING

    def message(self, text: str, *, hint: str, obj: object = None) -> CheckMessage:
        """What `manage.py check` prints: the text, the remedy as the hint, and the id."""
        return CheckMessage(self.level, text, hint=hint, obj=obj, id=self.id)
