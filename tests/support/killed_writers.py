"""Writers of a lake that end before one of their writes, as killed programs do."""

from typing import Any


class KilledError(BaseException):
    """The program ends at once."""


class Dying:
    """A storage whose program is killed before one of its writes."""

    def __init__(self, storage: Any, writes: int) -> None:
        self._storage, self._writes = storage, writes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def update(self, name: str, change: Any) -> Any:
        def change_or_die(open_file: Any) -> Any:
            result, write = change(open_file)
            if write is not None:
                if not self._writes:
                    raise KilledError
                self._writes -= 1
            return result, write

        return self._storage.update(name, change_or_die)
