"""fastText's supervised models without fastText: its Python interface.

from textcls import fasttext

model = fasttext.load_model("lid.176.ftz")
model.predict("un texte")
"""

from textcls.fasttext import FastText
from textcls.fasttext.arguments import train_supervised
from textcls.fasttext.FastText import BOW, EOS, EOW, load_model, tokenize
from textcls.fasttext.refused import cbow, skipgram, supervised, train_unsupervised

__all__ = [
    "BOW",
    "EOS",
    "EOW",
    "FastText",
    "cbow",
    "load_model",
    "skipgram",
    "supervised",
    "tokenize",
    "train_supervised",
    "train_unsupervised",
]
