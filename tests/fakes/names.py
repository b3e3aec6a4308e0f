"""A resolver that says what the test says, and remembers what it was asked."""

from collections.abc import Sequence


class Names:
    """Every name has these addresses; with `error` the look-up fails. Change `addresses` to move everything."""

    def __init__(self, *addresses: str, error: Exception | None = None) -> None:
        self.addresses = list(addresses)
        self.error = error
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append((host, port))
        if self.error is not None:
            raise self.error
        return list(self.addresses)
