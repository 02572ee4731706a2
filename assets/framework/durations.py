"""Durations for people, on the page and in notices."""

_HOUR, _DAY = 60, 1440


def format_duration(minutes: float, unit_space: str = " ") -> str:
    """Return a duration in its two largest units: 2 d 4 h, 3 h 20 min, 45 min, 30 s.

    Args:
        minutes: the duration.
        unit_space: what separates a number and its unit.
    """
    if 0 < minutes < 1:
        return f"{minutes * 60:.0f}{unit_space}s"
    whole = round(minutes)
    if whole < _HOUR:
        return f"{whole}{unit_space}min"
    larger, smaller, units = (
        (*divmod(whole, _HOUR), ("h", "min"))
        if whole < _DAY
        else (*divmod(round(whole / _HOUR), 24), ("d", "h"))
    )
    rest = f" {smaller}{unit_space}{units[1]}" if smaller else ""
    return f"{larger}{unit_space}{units[0]}{rest}"
