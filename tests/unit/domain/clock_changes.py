"""Where the clocks of many time zones are changed, found minute by minute."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
ZONES = [
    "Africa/Cairo",
    "Africa/Casablanca",
    "America/Asuncion",
    "America/Bogota",
    "America/Caracas",
    "America/Havana",
    "America/New_York",
    "America/Nuuk",
    "America/Santiago",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Antarctica/Troll",
    "Asia/Beirut",
    "Asia/Gaza",
    "Asia/Jerusalem",
    "Asia/Kathmandu",
    "Asia/Pyongyang",
    "Asia/Tehran",
    "Atlantic/Azores",
    "Australia/Lord_Howe",
    "Australia/Sydney",
    "Europe/Berlin",
    "Europe/Dublin",
    "Europe/Istanbul",
    "Europe/Lisbon",
    "Europe/London",
    "Europe/Moscow",
    "Pacific/Apia",
    "Pacific/Auckland",
    "Pacific/Chatham",
    "Pacific/Easter",
    "Pacific/Fiji",
]
"""Both hemispheres, half and two hours, changes at midnight, a day that was skipped (Apia, 2011), zones that moved
for good (Caracas, Pyongyang), and zones without daylight saving time, or that abolished it."""
YEARS = (2007, 2029)


def changes(zone: str) -> list[datetime]:
    """Each instant at which the clock of the zone is changed, by another search than the one under test."""
    found = []
    info, at = ZoneInfo(zone), datetime(YEARS[0], 1, 1, tzinfo=UTC)
    while at.year < YEARS[1]:
        if at.astimezone(info).utcoffset() != (at + DAY).astimezone(info).utcoffset():
            exact = at
            while exact.astimezone(info).utcoffset() == at.astimezone(info).utcoffset():
                exact += MINUTE
            found.append(exact)
        at += DAY
    return found


CHANGES = {zone: changes(zone) for zone in ZONES}
