"""textcls: train, track and use text classifiers built on ``torch.nn.EmbeddingBag``.

>>> from textcls import Classifier
>>> Classifier.load("runs/my-run").predict(["what a film"])
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from textcls.model.classifier import Classifier
    from textcls.scoring.scorer import Scorer

__all__ = ["Classifier", "Scorer", "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Importing torch takes a second; a configuration error must not wait for it.
    if name == "Classifier":
        from textcls.model.classifier import Classifier

        return Classifier
    if name == "Scorer":
        from textcls.scoring.scorer import Scorer

        return Scorer
    raise AttributeError(f"module 'textcls' has no attribute {name!r}")
