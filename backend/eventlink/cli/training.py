"""The options of a recompute's training, which ``recompute`` and ``enqueue`` share.

What does not live here: their ranges (``recsys.options``) and the rules of re-ranking (``rules``).
"""

from typing import Annotated

import typer

from eventlink.config import meaning
from eventlink.recsys import options

TopN = Annotated[int, typer.Option(help=meaning("recommendations_top_n"))]
Epochs = Annotated[int, typer.Option(help="Passes over the training examples.")]
LearningRate = Annotated[float, typer.Option(help="Step size of the training.")]
L2 = Annotated[float, typer.Option(help="Strength of the L2 penalty.")]
Model = Annotated[str, typer.Option(help=f"Rung of the ladder: {', '.join(options.MODELS)}.")]
SkipTraining = Annotated[bool, typer.Option("--skip-training", help="Score with the active model.")]
Seed = Annotated[int, typer.Option(help="Of all random draws.")]
Folds = Annotated[int, typer.Option(help="Days to evaluate on; 0 turns the evaluation off.")]
Activate = Annotated[
    options.Activate, typer.Option(help="When the new model takes the active one's place.")
]
