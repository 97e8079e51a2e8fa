"""How often a data node mends itself, as the settings say."""

from bucketlog.settings import Settings
from datanode.service import Times


def times(settings: Settings) -> Times:
    return Times(
        settings.orphan_after_s,
        settings.sweep_pace_s,
        settings.sweep_every_s,
        settings.copy_bytes_per_s,
        scrub_every_s=settings.scrub_every_s,
    )
