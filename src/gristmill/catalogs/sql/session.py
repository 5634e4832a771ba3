"""Transactions: repeated where the database undid them or its server was gone, and errors by our own names."""

from __future__ import annotations

import random
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import sqlalchemy as sa

from gristmill.base.clock import SystemClock
from gristmill.base.errors import Conflict, SettingsError, StoreUnavailable
from gristmill.base.logs import get_logger
from gristmill.catalogs.sql.dialect import Dialect
from gristmill.catalogs.sql.opening import migrate
from gristmill.catalogs.sql.trouble import Trouble, said

T = TypeVar("T")
Step = Callable[[sa.Connection], T]
log = get_logger(__name__)

_TROUBLES = (sa.exc.DBAPIError, OSError)

TRIES = 12  # of a step that met another one
_PAUSE = 0.01  # seconds before the first repetition; then twice as long each time, up to
_LONGEST = 0.5


class Session:
    """The connections of one catalog. A step may run more than once, but only one run of it counts.

    ``patience``: seconds for which a step that met no server is repeated. Opening is repeated only where it is given: who
    sits before a terminal wants to hear at once that there is no server.
    """

    def __init__(self, dialect: Dialect, patience: float | None = None) -> None:
        self._dialect = dialect
        self._patience = dialect.patience if patience is None else patience
        self._clock = SystemClock()
        self._writer = dialect.engine(writes=True)
        self._reader = dialect.engine(writes=False)
        try:
            self._repeated(self._opened, patience or 0.0)
        except BaseException:
            self.close()
            raise

    def _opened(self) -> None:
        with self._denials():
            migrate(self._dialect, self._writer, self._reader)

    def close(self) -> None:
        self._writer.dispose()
        self._reader.dispose()

    def write(self, step: Step[T]) -> T:
        """Run the step in one transaction."""
        return self._repeated(lambda: self._written(step), self._patience)

    def read(self, step: Step[T]) -> T:
        """Run queries, each on what is committed."""

        def work() -> T:
            with self._reader.connect() as connection:
                return step(connection)

        return self._repeated(work, self._patience)

    def _written(self, step: Step[T]) -> T:
        with self._writer.connect() as connection:  # left by an error, it rolls back
            made = step(connection)
            try:
                connection.commit()
            except sa.exc.DBAPIError as exc:
                if self._dialect.trouble(exc) is not Trouble.LOST:
                    raise
                # It may have been done, or not: whoever asked for it knows whether to ask again.
                raise StoreUnavailable(f"the catalog's answer to a commit was lost: {said(exc)}") from exc
            return made

    def _repeated(self, work: Callable[[], T], patience: float) -> T:
        begun, tries = self._clock.monotonic(), 0
        with self._named_errors():
            while True:
                tries += 1
                try:
                    return work()
                except _TROUBLES as exc:
                    trouble = self._trouble(exc)
                    waited = self._clock.monotonic() - begun
                    if not (
                        (trouble is Trouble.AGAIN and tries < TRIES) or (trouble is Trouble.LOST and waited < patience)
                    ):
                        raise
                    log.info("a step of the catalog is repeated", why=said(exc), tries=tries)
                _wait(tries)

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except _TROUBLES as exc:
            if self._trouble(exc) is Trouble.REFUSED:
                raise Conflict(f"the catalog refuses this step: {said(exc)}") from exc
            raise StoreUnavailable(f"the catalog {self._dialect.place} does not answer: {said(exc)}") from exc
        except sa.exc.TimeoutError as exc:
            raise StoreUnavailable(f"the catalog {self._dialect.place} has no connection free: {exc}") from exc

    @contextmanager
    def _denials(self) -> Iterator[None]:
        """What somebody has to mend before the catalog can be opened."""
        try:
            yield
        except _TROUBLES as exc:
            if self._trouble(exc) is not Trouble.DENIED:
                raise
            if isinstance(exc, OSError):
                raise SettingsError(f"stores.catalog: no TLS to the server of {self._dialect.place}: {exc}") from exc
            raise SettingsError(
                f"stores.catalog: the server of {self._dialect.place} refuses: {said(exc)}; check user, password, the"
                " database's name (it has to exist) and the user's rights in it"
            ) from exc

    def _trouble(self, error: sa.exc.DBAPIError | OSError) -> Trouble:
        """Drivers let some errors through as the system raised them: of connections, and of files of certificates."""
        if isinstance(error, sa.exc.DBAPIError):
            return self._dialect.trouble(error)
        denied = isinstance(error, FileNotFoundError | PermissionError | ssl.SSLCertVerificationError)
        return Trouble.DENIED if denied else Trouble.LOST


def _wait(tries: int) -> None:
    pause = min(_PAUSE * 2 ** (tries - 1), _LONGEST)
    threading.Event().wait(pause * random.uniform(0.5, 1.0))  # noqa: S311  only spreads them
