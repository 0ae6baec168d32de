"""Every error that autocelery raises, under one root.

Each message says what happened, the likely cause, and the next command. All
of them are built from one string, so that they survive pickle and Celery's
JSON results: an error raised on a worker reaches the caller as the same
class.
"""

from __future__ import annotations

from celery.exceptions import TimeoutError as ResultTimeout
from celery.exceptions import WorkerLostError
from kombu.exceptions import EncodeError, OperationalError

__all__ = [
    "AgentUnavailable",
    "AppNotFound",
    "ArgumentNotSerializable",
    "AttachmentAltered",
    "AttachmentError",
    "AttachmentMissing",
    "AttachmentUnreadable",
    "AutoceleryError",
    "BadFileName",
    "BeatDatabaseNotReady",
    "BeatDatabaseUnavailable",
    "BeatError",
    "BeatNotConfigured",
    "BeatSourceUnavailable",
    "BrokerNotConfigured",
    "BrokerUnavailable",
    "CodeNotImportable",
    "ConfigurationError",
    "ConflictingRoots",
    "DashboardUnavailable",
    "DatabaseNotMigrated",
    "DiskFull",
    "EagerRunaway",
    "EmptyTree",
    "EntryInvalid",
    "EntryNotFound",
    "EnvironmentMismatch",
    "EnvironmentNotBuilt",
    "FileKeepsChanging",
    "HostLost",
    "InvalidKey",
    "LockInvalid",
    "NameGone",
    "NoTrustedKeys",
    "NoWorkers",
    "NotShippable",
    "PackageAltered",
    "PackageMismatch",
    "PackageMissing",
    "PythonMismatch",
    "ResultNeverComes",
    "RevisionNotFound",
    "SecretInCode",
    "SignatureMismatch",
    "SnapshotError",
    "SnapshotExpired",
    "SnapshotIncomplete",
    "SnapshotInvalid",
    "SnapshotNotFound",
    "SnapshotRefused",
    "SnapshotRevoked",
    "SnapshotTooLarge",
    "StoreError",
    "StoreFull",
    "StoreNotConfigured",
    "StoreUnavailable",
    "TaskNotInSnapshot",
    "TreeTooLarge",
    "UnreadableFile",
    "UnsafeSymlink",
    "UntrustedAttachment",
    "UntrustedSnapshot",
    "UpInvalid",
    "UpUnavailable",
    "ValueNotPicklable",
    "VariableNotSet",
    "VariablesAltered",
    "VariablesError",
    "VariablesExpired",
    "VariablesNotForWorker",
    "WorkerWithoutAutocelery",
    "WrongCall",
]


class AutoceleryError(Exception):
    """Root of every error of autocelery.

    Args:
        message: what happened, the likely cause and the next command.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(message)

    @property
    def message(self) -> str:
        """The whole text."""
        return str(self.args[0]) if self.args else ""


class ConfigurationError(AutoceleryError):
    """A setting is missing or wrong."""


class AppNotFound(ConfigurationError):
    """No Celery app, or none with autocelery, where one was looked for."""


class StoreNotConfigured(ConfigurationError):
    """Neither the app nor ``AUTOCELERY_STORE`` says where blobs can rest."""


class BrokerNotConfigured(ConfigurationError):
    """No broker is configured, and tasks must not run in the process that calls them."""


class InvalidKey(ConfigurationError):
    """A key file or a key's text is no key of its kind, or others can read it."""


class SnapshotError(AutoceleryError):
    """The working tree cannot be made into a snapshot; nothing was sent."""


class EmptyTree(SnapshotError):
    """The tree has no file that would be shipped."""


class TreeTooLarge(SnapshotError):
    """The tree is over the limit; the message names its ten largest files."""


class UnreadableFile(SnapshotError):
    """A file that belongs to the tree cannot be read."""


class FileKeepsChanging(SnapshotError):
    """A file changed each time it was read."""


class BadFileName(SnapshotError):
    """A file's name cannot be written on every worker."""


class UnsafeSymlink(SnapshotError):
    """A symbolic link leaves the tree, loops or dangles."""


class SecretInCode(SnapshotError):
    """A module of the tree seems to hold a secret, so that it is not shipped, and tasks may need its code."""


class ConflictingRoots(SnapshotError):
    """Two roots provide the same module."""


class LockInvalid(SnapshotError):
    """A lock file is malformed, contradicts itself or another one, is out of date, or names a folder that is gone."""


class NotShippable(SnapshotError):
    """A function cannot travel by value: what it refers to cannot be pickled."""


class NameGone(NotShippable, NameError):
    """Code that would be sent refers to a name that is nowhere: it was deleted, or never defined."""


class StoreError(AutoceleryError):
    """The blob store did not do what was asked of it."""


class StoreUnavailable(StoreError):
    """The blob store cannot be reached."""


class StoreFull(StoreError):
    """The blob store has no room."""


class SnapshotNotFound(StoreError):
    """No snapshot with that id, or that abbreviation, is in the store."""


class SnapshotIncomplete(StoreError):
    """Blobs of a snapshot are missing and nobody sent them again in time."""


class SnapshotRefused(AutoceleryError):
    """A worker does not run a snapshot; nothing of it was executed."""


class UntrustedSnapshot(SnapshotRefused):
    """No trusted key signed the snapshot."""


class NoTrustedKeys(SnapshotRefused):
    """The worker trusts no key at all."""


class SnapshotExpired(SnapshotRefused):
    """The signature is past its expiry, or not valid yet."""


class SnapshotRevoked(SnapshotRefused):
    """The snapshot was revoked."""


class SnapshotInvalid(SnapshotRefused):
    """A manifest is malformed, contradicts its digest or would write outside its folder."""


class SnapshotTooLarge(SnapshotRefused):
    """The snapshot is larger than the cache of the worker may be."""


class EnvironmentMismatch(SnapshotRefused):
    """The worker's environment is not the one the snapshot needs."""


class PythonMismatch(EnvironmentMismatch):
    """The snapshot was made with another minor version of Python."""


class PackageMissing(EnvironmentMismatch, ModuleNotFoundError):
    """The snapshot imports a package that the worker lacks."""


class PackageMismatch(EnvironmentMismatch, ImportError):
    """The snapshot imports a package that the worker has in another major version."""


class EnvironmentNotBuilt(EnvironmentMismatch):
    """The worker could not build the environment that the snapshot needs."""


class PackageAltered(EnvironmentNotBuilt):
    """A package that the worker was served is not the one that the lock names: its hash is another."""


class AttachmentError(AutoceleryError):
    """An argument or a result that the serializer does not carry did not arrive; it was not unpickled."""


class ValueNotPicklable(AttachmentError, EncodeError):
    """An argument or a result can neither be serialized nor pickled."""


class AttachmentAltered(AttachmentError):
    """A value is not what was signed: its bytes, its reference, or the call that it is for."""


class UntrustedAttachment(AttachmentError):
    """No trusted key signed a value."""


class AttachmentMissing(AttachmentError):
    """A value is not in the blob store any more, and nobody sent it again in time."""


class AttachmentUnreadable(AttachmentError):
    """A value arrived as it was signed, and cannot be unpickled here."""


class VariablesError(AutoceleryError):
    """Environment variables that a call names cannot travel with it, or did not arrive."""


class VariableNotSet(VariablesError):
    """A variable that a call names is not set where it is sent; nothing was sent."""


class VariablesNotForWorker(VariablesError):
    """A call's variables are not encrypted to the key of the worker that got it."""


class VariablesAltered(VariablesError):
    """A call's variables are not what its author encrypted for this snapshot."""


class VariablesExpired(VariablesError):
    """A call's variables were encrypted too long ago, or a clock is wrong."""


class BeatError(AutoceleryError):
    """The schedule in the database, or one entry of it, cannot do what was asked."""


class BeatNotConfigured(BeatError, ConfigurationError):
    """Nothing says where the schedule is stored, or what says so makes no sense."""


class BeatDatabaseUnavailable(BeatError):
    """The database with the schedule cannot be reached, or refuses."""


class BeatDatabaseNotReady(BeatError):
    """The tables of the schedule are not there, or are those of another version."""


class BeatSourceUnavailable(BeatError):
    """Another scheduler's entries, which were to be imported, cannot be read."""


class EntryInvalid(BeatError):
    """What an entry says makes no sense; it is not sent, the others are."""


class EntryNotFound(BeatError):
    """The schedule has no entry with that key."""


class CodeNotImportable(AutoceleryError):
    """The shipped code raises while it is imported."""


class TaskNotInSnapshot(AutoceleryError):
    """The snapshot defines no task of that name."""


class HostLost(AutoceleryError, WorkerLostError):
    """The host process that ran a live call died before it answered."""


class AgentUnavailable(AutoceleryError):
    """The agent beside the worker does not answer."""


class DiskFull(AutoceleryError):
    """The disk that holds autocelery's keys and caches has no room."""


class ArgumentNotSerializable(AutoceleryError, EncodeError):
    """An argument of a deployed call is nothing that the app's serializer carries; nothing was sent."""


class DatabaseNotMigrated(ConfigurationError):
    """The tables that results are stored in are missing, or older than the code."""


class BrokerUnavailable(AutoceleryError, OperationalError):
    """The broker cannot be reached; no message was sent. It is what Celery raises then, with the mend."""


class EagerRunaway(AutoceleryError):
    """Without a broker, tasks send one another without an end."""


class ResultNeverComes(AutoceleryError, ResultTimeout):
    """Without a broker, a result was waited for that nothing in this process will store."""


class NoWorkers(AutoceleryError):
    """No worker answers."""


class WorkerWithoutAutocelery(AutoceleryError):
    """A worker that would get the call does not have the live task."""


class RevisionNotFound(AutoceleryError):
    """There is no such revision of the code, or no git repository to look in."""


class UpInvalid(ConfigurationError):
    """What the table of processes or of queues says makes no sense; nothing was started."""


class UpUnavailable(AutoceleryError):
    """No ``autocelery up`` of this project answers, or another one runs already."""


class DashboardUnavailable(AutoceleryError):
    """The dashboard cannot be served: its port is taken, or what it needs is not installed."""


class SignatureMismatch(AutoceleryError, TypeError):
    """A message was sent for another signature than the task has here, and does not fit it; the task did not run."""


class WrongCall(AutoceleryError, TypeError):
    """A live call was made like one of the function itself; nothing was sent, and nothing ran."""
