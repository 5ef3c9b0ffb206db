"""The data-key cache: which DEK a new message gets, and the unwrapped DEKs of envelopes being read.

    lease = datakeys.for_writing(context_json, size)        # one message charged; may call the KMS
    with lease:                                             # lease.dek is not wiped before the block ends
        ... lease.dek, lease.header ...
    lease.charge(n)                                         # bytes of a stream of unknown length, at any time

    lease = datakeys.known(raw) or datakeys.for_reading(decode_header(raw)[0])

``known`` is the fast way in for readers: the exact bytes of a header whose DEK is here spare its parsing. A
call that hands out a lease is paired with one ``with`` block. A lease is shared by all who use its DEK.

Every call counts as one of ``hits`` (a DEK was here), ``misses`` (this caller asked the KMS) and ``waits``
(this caller waited for another's call). The ``on_event`` hook is called with one ``CacheEvent`` and no lock
held: ``kms_call``, ``refreshed``, ``refresh_failed``, ``stale``, ``evicted``.
"""

from ..policy import CachePolicy
from .cache import DataKeys
from .events import CacheEvent
from .lease import Lease

__all__ = ["CacheEvent", "CachePolicy", "DataKeys", "Lease"]
