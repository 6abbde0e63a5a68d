"""Work that must not vanish: envelopes on their way through lanes, attempts, retries, dead letters and the journal.

What users of it need is in ``aetherra.kernel``.
"""

__all__: list[str] = []
