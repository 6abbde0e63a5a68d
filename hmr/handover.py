"""The state of a swap: what the old generation hands over, or what is taken in its place."""

from __future__ import annotations

import msgspec

from aetherra.kernel import Candidate
from aetherra.kernel.generation import Generation
from aetherra.kernel.state import Parcel, StateError


class Handover(msgspec.Struct):
    """Carries state over by its encoded bytes, so that nothing of the old code comes along.

    Attributes:
        kept: State to take over instead of what the old generation hands over; with ``as_kept``, even if that is none.
        as_kept: Whether the old generation is not asked.
        lossy: Whether to go on without state where it cannot be handed over, or the new code takes none.
        handed_over: What the old generation handed over; ``None`` if it was not asked, or has none.
        lost: Why state was left behind, ``""`` if none was.
    """

    kept: Parcel | None = None
    as_kept: bool = False
    lossy: bool = False
    handed_over: Parcel | None = None
    lost: str = ""

    async def ask(self, serving: Generation | None) -> None:
        """Ask the generation that serves for its state.

        Raises:
            StateError: Its ``hand_over()`` raised; says what it was, and what to do.
        """
        if serving is None or self.as_kept:
            return
        try:
            self.handed_over = await serving.hand_over()
        except (Exception, SystemExit) as exc:  # the plugin's code runs here
            problem = f"hand_over() of the code that serves raised {type(exc).__name__}: {exc}"
            if not self.lossy:
                raise StateError(f"{problem}; a forced reload leaves its state behind") from exc
            self.lost = problem

    async def give(self, candidate: Candidate) -> None:
        """Give a candidate the state.

        Raises:
            Exception: What its ``take_over()`` raised, or why the state does not fit.
        """
        parcel = self.kept if self.as_kept else self.handed_over or self.kept
        if parcel is None:
            return
        if self.lossy and candidate.spec.state_type is None:
            self.lost = f"the new code takes over no state, and a {parcel.kind} was left behind"
            return
        await candidate.generation.take_over(parcel)
