"""Typed, validated configuration: what the YAML files below ``configs/`` turn into.

The defaults, and what each key means, stand in ``configs/``; here stand the types and the limits.
Validation is pydantic's, so a wrong key, type or value is found before any work starts.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from textcls.errors import InputError
from textcls.faults import describe_all
from textcls.naming import option
from textcls.sizes import size_of
from textcls.values import (
    STRICT,
    Auto,
    CharLength,
    CharTokenWeights,
    Counts,
    Delimiter,
    Fraction,
    Kernels,
    LabelDelimiter,
    Mode,
    Monitor,
    Names,
    NonNegative,
    OfScores,
    OptimizerName,
    Parallel,
    PositiveInt,
    Quoting,
    Size,
    TokenWeights,
    Weight,
    is_auto,
    is_of_scores,
)

# What of a configuration does not change what a run comes to.
CIRCUMSTANCES = (
    "cache_dir", "cache_size", "trainer.device", "trainer.kernels", "trainer.num_threads",
    "trainer.parallel", "trainer.profile",
)  # fmt: skip

# Which features of a new train split get an embedding row: see :func:`inherited_options`.
_OF_NEW_FEATURES = ("min_freq", "max_size", "ngram_min_freq", "char_min_freq")


@dataclass(frozen=True, config=STRICT)
class Reading:
    """How a file of texts is read (``configs/data/base.yaml`` explains each key)."""

    text: Names | None = None
    label: Names | None = None
    label_names: Names | None = None
    columns: Names | None = None
    delimiter: Delimiter | None = None
    encoding: str = "utf-8"
    header: bool | None = None
    quoting: Quoting | None = None
    label_delimiter: LabelDelimiter | None = None
    weight: str | None = None


@dataclass(frozen=True, config=STRICT)
class DataConfig:
    """Where the labelled texts come from (``configs/data/base.yaml`` explains each key)."""

    name: str
    source: Literal["files", "hub", "docstrings"]
    repo: str | None
    subset: str | None
    revision: str | None
    train: str | None
    validation: str | None
    test: str | None
    text: Names | None
    label: Names | None
    label_names: Names | None
    columns: Names | None
    delimiter: Delimiter | None
    encoding: str
    validation_fraction: Annotated[float, Field(gt=0, lt=1)]
    test_fraction: Annotated[float, Field(gt=0, lt=1)]
    split_seed: Annotated[int, Field(ge=0)]
    # With defaults, so that configurations of older runs stay readable.
    header: bool | None = None
    quoting: Quoting | None = None
    label_delimiter: LabelDelimiter | None = None
    task: Literal["auto", "single", "multi", "soft", "ordered"] = "auto"
    weight: str | None = None

    def __post_init__(self) -> None:
        if self.source != "docstrings" and not self.train:
            raise ValueError(
                "data.train is missing: name a labelled file, as in data.train=reviews.csv"
            )
        if self.source == "hub" and not self.repo:
            raise ValueError("data.repo is missing: name the hub repository, as in data.repo=a/b")
        if self.text is not None and not self.text:
            raise ValueError("data.text names no column: say data.text=COLUMN, or leave it null")
        if self.label is not None and not self.label:
            raise ValueError("data.label names no column: say data.label=COLUMN, or leave it null")
        if self.task in ("single", "ordered"):
            if self.label is not None and len(self.label) > 1:
                raise ValueError(f"data.task={self.task} takes the label from one column: name one")
            if self.label_delimiter is not None:
                raise ValueError("data.label_delimiter is for several labels: set data.task=multi")
        if self.label is not None and len(self.label) > 1 and self.label_names is not None:
            raise ValueError(
                f"{option('label_names')} names numbers, but {option('label')} names a column for "
                "each label: leave one out"
            )
        if self.label_names and len(set(self.label_names)) < len(self.label_names):
            raise ValueError(f"{option('label_names')} gives one name to two labels")
        if self.source == "files":
            for key in ("repo", "subset", "revision"):
                if getattr(self, key):
                    raise ValueError(f"data.{key} is for hub datasets: data.source is 'files'")

    @property
    def reading(self) -> Reading:
        """How the files are read."""
        return Reading(
            self.text, self.label, self.label_names, self.columns, self.delimiter, self.encoding,
            self.header, self.quoting, self.label_delimiter, self.weight,
        )  # fmt: skip


@dataclass(frozen=True, config=STRICT)
class TokenizerConfig:
    """From text to token ids (``configs/tokenizer/`` explains each key)."""

    name: Literal[
        "basic_english", "basic", "jieba", "split", "spacy", "moses", "toktok", "revtok", "subword",
        "bpe", "wordpiece", "file", "fasttext",
    ]  # fmt: skip
    min_freq: PositiveInt
    max_size: PositiveInt | None
    max_tokens: PositiveInt | None
    ngrams: Annotated[int, Field(ge=1, le=5), Auto] = 1
    buckets: Annotated[int, Field(ge=1, le=2**30)] | None = None
    language: str = "en"
    vocab_size: Annotated[int, Field(ge=1, le=10_000_000)] = 30_000
    file: str | None = None
    # With defaults that give the bags of configurations without them.
    ngram_min_freq: Annotated[PositiveInt, Auto] = 1
    char_ngrams: Annotated[tuple[CharLength, CharLength] | None, Auto] = None
    char_min_freq: PositiveInt = 2
    char_buckets: Annotated[int, Field(ge=1, le=2**30)] | None = None
    char_weight: Weight = 1.0
    char_token_weights: CharTokenWeights | None = None
    counts: Counts | None = None
    token_weights: TokenWeights | None = None
    ngram_weight: Weight = 1.0

    def __post_init__(self) -> None:
        lengths = None if is_auto(self.char_ngrams) else self.char_ngrams
        if lengths is not None and lengths[0] > lengths[1]:
            raise ValueError(
                "tokenizer.char_ngrams is the shortest and the longest, as in "
                "tokenizer.char_ngrams=[2,5]"
            )
        if self.name == "fasttext":
            self._check_of_fasttext()
        if self.char_buckets is not None and self.char_ngrams is None:
            raise ValueError(
                "tokenizer.char_buckets is for character n-grams: set tokenizer.char_ngrams=[2,5], "
                "or tokenizer.char_buckets=null"
            )
        for key, neutral in (("token_weights", None), ("ngram_weight", 1.0)):
            value = getattr(self, key)
            if self.counts is None and value != neutral and not is_auto(value):
                raise ValueError(
                    f"tokenizer.{key} weighs distinct features: set tokenizer.counts=log"
                )
        if (self.name == "file") != (self.file is not None):
            raise ValueError("tokenizer.file names a tokenizer.json for tokenizer=file, only there")
        if self.buckets is not None and self.ngrams == 1 and self.name != "fasttext":
            raise ValueError(
                "tokenizer.buckets is for n-grams: set tokenizer.ngrams=2 or more, "
                "or tokenizer.buckets=null"
            )

    def _check_of_fasttext(self) -> None:
        if self.has_ngrams and self.buckets is None:
            raise ValueError(
                "tokenizer.name=fasttext hashes all n-grams: set tokenizer.buckets=2000000"
            )
        for key in ("counts", "max_tokens", "char_buckets", "char_token_weights"):
            if getattr(self, key) is not None:
                raise ValueError(
                    f"tokenizer.{key} is nothing that fastText has: set tokenizer.{key}=null, or "
                    "take another tokenizer than fasttext"
                )

    @property
    def has_ngrams(self) -> bool:
        """Whether there are n-grams, of words or of characters."""
        return self.ngrams != 1 or self.char_ngrams is not None

    @property
    def num_buckets(self) -> int:
        """How many buckets there are for word n-grams; with fastText's features for all n-grams."""
        return (self.buckets or 0) if self.has_ngrams else 0


@dataclass(frozen=True, config=STRICT)
class ModelConfig:
    """The classifier's shape."""

    mode: Mode
    dim: Annotated[int, Field(ge=1, le=2**16), OfScores, Auto]
    dropout: Annotated[Fraction, Auto]
    # With a default, so that configurations of older runs stay readable.
    vectors: str | None = None

    def __post_init__(self) -> None:
        if self.vectors is None:
            return
        if not is_auto(self.dim) and not is_of_scores(self.dim):
            raise ValueError(
                "model.vectors adds to class scores: set model.dim=classes, or model.vectors=null"
            )
        if self.mode not in ("sqrtn", "mean", "sum"):
            raise ValueError(
                f"model.vectors cannot be added to a table that is pooled by {self.mode}: set "
                "model.mode=sqrtn, mean or sum, or model.vectors=null"
            )


@dataclass(frozen=True, config=STRICT)
class OptimizerConfig:
    """One of torch's optimizers."""

    name: OptimizerName
    lr: Annotated[float, Field(gt=0, allow_inf_nan=False), Auto]
    weight_decay: NonNegative
    rows: Literal["auto", "all", "touched"]
    momentum: Fraction = 0.0
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    # Adagrad's: 0 makes the first step of every number as large as lr, however small its gradient.
    initial_accumulator_value: NonNegative = 0.0

    def __post_init__(self) -> None:
        if is_auto(self.lr) and self.name != "adagrad":
            raise ValueError(f"optimizer.lr=auto is for Adagrad: give {self.name} a number")


@dataclass(frozen=True, config=STRICT)
class ScheduleConfig:
    """How the learning rate changes over the steps of the whole training."""

    name: Literal["constant", "linear", "cosine"]
    warmup: Fraction


@dataclass(frozen=True, config=STRICT)
class TrainerConfig:
    """The training loop."""

    epochs: Annotated[PositiveInt, Auto]
    batch_size: Annotated[PositiveInt, Auto]
    clip_norm: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None
    class_weights: Literal["balanced"] | dict[str, NonNegative] | None
    label_smoothing: Annotated[Fraction, Auto]
    monitor: Annotated[Monitor, Auto]
    patience: PositiveInt | None
    overfit: PositiveInt | None
    device: str
    num_threads: Annotated[int, Field(ge=1, le=1024)] | None
    profile: bool = False
    refit: bool = False
    calibrate: bool = False
    ensemble: Annotated[int, Field(ge=1, le=100)] = 1
    sampled_classes: Annotated[PositiveInt | None, Auto] = None
    focal: NonNegative | None = None
    logit_adjustment: NonNegative | None = None
    ordinal: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    kernels: Kernels = "auto"
    max_memory: Annotated[Size | None, BeforeValidator(size_of("trainer.max_memory"))] = None
    parallel: Parallel = "data"

    def __post_init__(self) -> None:
        if self.logit_adjustment and self.class_weights is not None:
            raise ValueError(
                "trainer.logit_adjustment and trainer.class_weights both make up for rare classes: "
                "leave one out"
            )
        if self.focal and self.ordinal:
            raise ValueError(
                "trainer.focal is for a label alone, trainer.ordinal for one that is spread over "
                "its neighbours: leave one out"
            )


@dataclass(frozen=True, config=STRICT)
class Config:
    """Everything that determines a run."""

    data: DataConfig
    tokenizer: TokenizerConfig
    model: ModelConfig
    optimizer: OptimizerConfig
    schedule: ScheduleConfig
    trainer: TrainerConfig
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    cache_dir: str
    cache_size: Annotated[Size | None, BeforeValidator(size_of("cache_size"))] = 20_000_000_000
    init_from: str | None = None

    def __post_init__(self) -> None:
        if self.trainer.overfit and self.trainer.patience:
            raise ValueError("trainer.overfit has no validation split: set trainer.patience=null")

    @property
    def cache(self) -> Path:
        """The folder that ``cache_dir`` names."""
        return Path(self.cache_dir).expanduser()

    def to_dict(self) -> dict[str, Any]:
        """Return plain nested dicts; :func:`parse` reads them back to an equal ``Config``."""
        return dataclasses.asdict(self)


_adapter = TypeAdapter(Config)


def parse(values: Mapping[str, Any]) -> Config:
    """Validate nested plain values.

    Raises:
        InputError: an unknown key, a wrong type or value, or an impossible combination; one line
            that names every such key as it is written on the command line.
    """
    try:
        return _adapter.validate_python(values)
    except ValidationError as error:
        raise InputError(describe_all(error)) from None


def read_config(folder: Path) -> Config:
    """Return the configuration of the run in ``folder``.

    Raises:
        InputError: there is none, or it is damaged.
    """
    import yaml  # which training from ids alone does without

    try:
        values = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        near = [path for path in (folder.parent, Path("runs") / folder) if _is_run(path)]
        mend = (
            f": did you mean {near[0]}?" if near else ": name one, such as runs/DATE_TIME_data_mode"
        )
        raise InputError(f"{folder}: is no run folder, it has no config.yaml{mend}") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"{folder}: is no run folder ({error})") from None
    try:
        return parse(values)
    except InputError as error:
        raise InputError(f"{folder}: its config.yaml is damaged ({error})") from None


def _is_run(folder: Path) -> bool:
    return (folder / "config.yaml").is_file()


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested values by their names on the command line: ``{"model.dim": 32, …}``."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and key != "class_weights":
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def inherited_options() -> list[str]:
    """Return the options that are those of the model, where a run starts from one."""
    fields = dataclasses.fields(TokenizerConfig)
    own = [f"tokenizer.{field.name}" for field in fields if field.name not in _OF_NEW_FEATURES]
    return [*own, "model.mode", "model.dim"]
