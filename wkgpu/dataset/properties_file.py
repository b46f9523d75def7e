"""The properties file on disk: read whole, changed under a lock, replaced at once."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path

from wkgpu.dataset.properties import PROPERTIES_NAME, DatasetProperties
from wkgpu.errors import AlreadyExistsError, NotFoundError, StorageAccessError
from wkgpu.storage.locks import file_lock
from wkgpu.storage.replacement import atomic_write_bytes


class PropertiesFile:
    """The ``datasource-properties.json`` of a dataset.

    Parameters
    ----------
    folder : Path
        The dataset's folder.

    Examples
    --------
    >>> file = PropertiesFile(folder)  # doctest: +SKIP
    >>> with file.change() as properties:  # doctest: +SKIP
    ...     properties.name = "cortex"
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / PROPERTIES_NAME

    def exists(self) -> bool:
        """Whether the file exists."""
        return self.path.is_file()

    def create(self, properties: DatasetProperties) -> None:
        """Write the first properties of a dataset, in a folder that may not exist yet.

        Raises
        ------
        AlreadyExistsError
            If the file exists, because another process was faster.
        """
        temporary = self.path.with_name(f".{self.path.name}.{secrets.token_hex(6)}.tmp")
        atomic_write_bytes(temporary, properties.to_bytes())
        try:
            _move_to_free_name(temporary, self.path)
        except FileExistsError as error:
            raise AlreadyExistsError(
                f"{self.path} exists. Open the dataset, or create it with exist_ok=True."
            ) from error
        finally:
            temporary.unlink(missing_ok=True)

    def load(self) -> DatasetProperties:
        """Read the file.

        Raises
        ------
        NotFoundError, StorageAccessError, PropertiesError
            If it does not exist, cannot be read, or says no properties.
        """
        try:
            data = self.path.read_bytes()
        except FileNotFoundError as error:
            raise NotFoundError(f"{self.path} does not exist.") from error
        except OSError as error:
            raise StorageAccessError(error.errno, f"Cannot read {self.path}: {error.strerror}") from error
        return DatasetProperties.parse(data, self.path)

    @contextmanager
    def change(self) -> Iterator[DatasetProperties]:
        """Yield the properties as they are now, and write them afterwards, unless the block raises.

        Nobody else changes the file meanwhile, in whatever thread or process, so that no change is lost: keep the
        block short, and in it decide by the properties that it was given.

        Raises
        ------
        NotFoundError, ReadOnlyError, StorageAccessError, PropertiesError
            If the file does not exist, cannot be written or read, or says no properties.
        """
        with file_lock(self.path):
            properties = self.load()
            before = deepcopy(properties.document)
            yield properties
            if properties.document != before:
                atomic_write_bytes(self.path, properties.to_bytes())


def _move_to_free_name(source: Path, target: Path) -> None:
    """Move a file, or raise a FileExistsError: a rename would replace what another process has put there."""
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if target.exists():
            raise FileExistsError(target) from None
        source.replace(target)
