"""A scikit-learn estimator: texts in, classes out, for pipelines, cross-validation and searches.

>>> from sklearn.model_selection import GridSearchCV
>>> from textcls.sklearn import TextClassifier
>>> search = GridSearchCV(TextClassifier(ngrams=2), {"mode": ["sqrtn", "max"]}, n_jobs=2)
>>> search.fit(texts, labels).predict(["what a film"])
array(['positive'], dtype='<U8')
"""

try:
    import sklearn.base  # noqa: F401  # the modules below need it
except ImportError as error:
    raise ImportError(
        f"textcls.sklearn needs scikit-learn, the extra of that name: "
        f"pip install 'textcls[sklearn]' ({error})"
    ) from None

from textcls.sklearn.estimator import TextClassifier

__all__ = ["TextClassifier"]
