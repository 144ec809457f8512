"""fastText's supervised models without fastText: its Python interface, for what is trained already.

from textcls import fasttext

model = fasttext.load_model("lid.176.ftz")
model.predict("un texte")
"""

from textcls.fasttext import FastText
from textcls.fasttext.FastText import load_model, tokenize

__all__ = ["FastText", "load_model", "tokenize"]
