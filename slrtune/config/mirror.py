"""A folder in an object store and its working folder on this machine, file by file."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa

from slrtune.config.addresses import address_of
from slrtune.config.errors import UserError
from slrtune.config.storage import FileFacts, Folder

_MAX_REASON = 300


def mirror_of(local: Path) -> Mirror | None:
    """Of a working folder; None of one that is nothing but a folder."""
    address = address_of(local)
    return None if address is None else Mirror(local, address)


class Mirror:
    """Copies files between an address and its working folder.

    Every method raises an OSError that `patiently` waits for where the store cannot be used.

    Args:
        local: the working folder; need not be there.
        address: of the object store.

    Attributes:
        local: see above.
        address: see above.
    """

    def __init__(self, local: Path, address: str) -> None:
        self.local, self.address = local, address
        self._folder = Folder(address)
        self._sent: dict[str, tuple[int, int]] = {}

    def files(self) -> dict[str, FileFacts]:
        """All files at the address, by their names relative to it."""
        with self._waitable():
            return self._folder.files()

    def folders(self) -> list[str]:
        """Names of the folders that lie directly at the address."""
        with self._waitable():
            return self._folder.folders()

    def find(self, *names: str) -> dict[str, FileFacts]:
        """Those of the files that there are."""
        with self._waitable():
            return self._folder.find(names)

    def upload(self, name: str) -> None:
        """Put the file in place at the address; a reader there sees the old or the new, whole."""
        seen = _version(self.local / name)  # it may change while it is sent
        with self._waitable():
            self._folder.put(name, self.local / name)
        self._sent[name] = seen

    def upload_changed(self, name: str) -> None:
        """The same, unless this object has sent this version, or there is no such file."""
        path = self.local / name
        if path.exists() and self._sent.get(name) != _version(path):
            self.upload(name)

    def download(self, name: str, facts: FileFacts) -> None:
        """Copy a file here, unless it is the same; a reader here sees the old or the new, whole."""
        target = self.local / name
        with contextlib.suppress(OSError):
            if _version(target) == (facts.mtime_ns, facts.size):
                return
        partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with self._waitable():
                self._folder.fetch(name, partial)
            os.utime(partial, ns=(facts.mtime_ns, facts.mtime_ns))
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
        self._sent[name] = facts.mtime_ns, facts.size

    def take(self, *names: str) -> None:
        """Make these files here what they are at the address: copied, or removed."""
        there = self.find(*names)
        for name in names:
            if name in there:
                self.download(name, there[name])
            else:
                (self.local / name).unlink(missing_ok=True)

    def take_all(self, is_wanted: Callable[[str], bool]) -> None:
        """The same for every file, here or there, whose name ``is_wanted``."""
        there = {name: facts for name, facts in self.files().items() if is_wanted(name)}
        for name in self.local_files(is_wanted):
            if name not in there:
                (self.local / name).unlink(missing_ok=True)
        for name, facts in there.items():
            self.download(name, facts)

    def local_files(self, is_wanted: Callable[[str], bool]) -> list[str]:
        """Names of the files here."""
        paths = (Path(parent, name) for parent, _, names in os.walk(self.local) for name in names)
        relative = (path.relative_to(self.local).as_posix() for path in paths)
        return [name for name in relative if is_wanted(name)]

    def delete_gone(self, is_wanted: Callable[[str], bool]) -> None:
        """Remove at the address what this object has sent or brought, and is not here any more."""
        for name in list(self._sent):  # another thread may send something
            if is_wanted(name) and not (self.local / name).exists():
                self.delete(name)
                del self._sent[name]

    def read(self, name: str) -> bytes | None:
        """Content of a file at the address; None where there is none."""
        with self._waitable():
            return self._folder.read(name)

    def write(self, name: str, content: bytes) -> None:
        """Put a file in place at the address."""
        with self._waitable():
            self._folder.write(name, content)

    def copy(self, name: str, other: str) -> None:
        """Copy a file within the store."""
        with self._waitable():
            self._folder.copy(name, other)

    def delete(self, name: str) -> None:
        """Remove a file at the address; it may be gone."""
        with self._waitable():
            self._folder.delete(name)

    @contextlib.contextmanager
    def _waitable(self) -> Iterator[None]:
        """Arrow tells a store that is away by an error without a number."""
        try:
            yield
        except (OSError, pa.ArrowException, UserError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            reason = " ".join(str(error).split())[:_MAX_REASON]
            raise OSError(errno.EIO, reason, self.address) from error


@contextlib.contextmanager
def telling_of_store(folder: Path) -> Iterator[None]:
    """A store that cannot be used is the user's to mend.

    Raises:
        UserError: what is wrong with it.
    """
    try:
        yield
    except OSError as error:
        address = address_of(folder)
        if address is None:
            raise
        raise UserError(
            f"runs_dir: {address} cannot be used ({error.strerror}); check the address, the "
            "network, and that this machine has the keys or the role for it"
        ) from None


def _version(path: Path) -> tuple[int, int]:
    facts = path.stat()
    return facts.st_mtime_ns, facts.st_size
