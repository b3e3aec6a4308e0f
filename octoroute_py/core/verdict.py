"""What somebody thought of an answer."""

import msgspec


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """`rating` is 1 (bad) to 5 (good); `smaller_tier_would_do`: a cheaper model would have been enough.

    None where nothing was said.
    """

    rating: int | None = None
    success: bool | None = None
    smaller_tier_would_do: bool | None = None
