"""Error correction: what the log tells of is mended where the configuration allows it, and advised on where not."""

from aetherra.plugins.homeostasis.corrector.corrector import AutonomousErrorCorrector
from aetherra.plugins.homeostasis.corrector.port import Act, Port
from aetherra.plugins.homeostasis.corrector.settings import CorrectorSettings

__all__ = ["Act", "AutonomousErrorCorrector", "CorrectorSettings", "Port"]
