"""The list of what is broken: each line of the table, and where its breaks come from."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial

from tests.faults.breaks import Break
from tests.faults.client_breaks import (
    LEAVES,
    vanishing,
    vanishing_before_the_literal,
    vanishing_in_starttls,
    vanishing_meanwhile,
)
from tests.faults.disk_breaks import full_disk
from tests.faults.imap_breaks import imap_failures, imap_silence
from tests.faults.journal_breaks import unusable_journal
from tests.faults.outage_breaks import outages, restarts
from tests.faults.process_breaks import BLOWS, blows, blows_under_load
from tests.faults.repetition_breaks import ORDERLY_BLOWS, blows_while_a_repetition_waits
from tests.faults.resource_breaks import (
    without_descriptors,
    without_descriptors_for_a_moment,
    without_room_for_the_draft,
    without_room_for_the_journal,
)
from tests.faults.smtp_breaks import lost_replies, smtp_failures, smtp_refusals

# The one that waits longest begins.
KINDS: Mapping[str, Callable[[], Iterable[Break]]] = {
    "IMAP: silence at a step": imap_silence,
    **{f"client: {way} within the command": partial(vanishing, way) for way in LEAVES},
    **{f"client: {way} before the literal": partial(vanishing_before_the_literal, way) for way in LEAVES},
    **{f"client: {way} in STARTTLS": partial(vanishing_in_starttls, way) for way in LEAVES},
    **{f"client: {way} at a step": partial(vanishing_meanwhile, way) for way in LEAVES},
    "SMTP: refusal at a step": smtp_refusals,
    "SMTP: failure at a step": smtp_failures,
    "SMTP: no reply to the dot, taken": partial(lost_replies, is_taken=True),
    "SMTP: no reply to the dot, not taken": partial(lost_replies, is_taken=False),
    "IMAP: failure at a step": imap_failures,
    "a server begins anew at a step": restarts,
    "a server is not there": outages,
    **{f"{name} at a step": partial(blows, name) for name in BLOWS},
    **{f"{name} under load": partial(blows_under_load, name) for name in BLOWS},
    **{f"{name} while a repetition waits": partial(blows_while_a_repetition_waits, name) for name in ORDERLY_BLOWS},
    "no descriptors when it is submitted": without_descriptors,
    "no descriptors when a client comes": without_descriptors_for_a_moment,
    "disk full at a step": full_disk,
    "journal unusable at a step": unusable_journal,
    "no room for the draft": without_room_for_the_draft,
    "no room for the journal": without_room_for_the_journal,
}


def sample(kind: str, most: int) -> list[Break]:
    """Return a few of a kind's breaks: the first, the last, and others evenly between them."""
    breaks = list(KINDS[kind]())
    count = min(most, len(breaks))
    return [breaks[index * (len(breaks) - 1) // max(count - 1, 1)] for index in range(count)]
