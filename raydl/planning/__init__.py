"""Plans: what a run will send, how long that takes, what it costs, and how far it scales.

forecast  what is forecast, and the figures that follow from it on a network
run       of a run that ``raydl run`` could do
outline   of so many parameters on so many workers, by each scheme
figure    cost against the number of workers
"""

from raydl.planning.forecast import Circumstances, Comparison, Forecast
from raydl.planning.outline import Outline, of_outline
from raydl.planning.run import of_run

__all__ = ["Circumstances", "Comparison", "Forecast", "Outline", "of_outline", "of_run"]
