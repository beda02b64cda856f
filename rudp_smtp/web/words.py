"""Times and sizes as the pages say them."""

from datetime import datetime


def moment(time: datetime | None) -> str:
    """Local time to the second; an empty text for none."""
    return "" if time is None else time.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def size_of(octets: int) -> str:
    """With one decimal from a thousand octets on."""
    if octets < 1000:
        return f"{octets} B"
    if octets < 1_000_000:
        return f"{octets / 1000:.1f} kB"
    return f"{octets / 1_000_000:.1f} MB"
