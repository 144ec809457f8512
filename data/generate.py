"""Write the project's own corpora: five small, seeded, labelled text classification tasks.

    python data/generate.py              # rewrites data/*/train.csv and data/*/test.csv
    python data/generate.py --out DIR    # the same files elsewhere

Every sentence comes from the grammars in this file, so the files carry no licence but the
project's, every text's true label is known, and so is the best accuracy that any model can reach.
The same bytes come out on every machine and Python version: each corpus has a random stream of its
own (editing one leaves the others alone), and only methods of `random.Random` are used whose
sequence does not change between versions.
"""

from __future__ import annotations

import argparse
import csv
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

SEED = 20240607
LABEL_NOISE = 0.04  # share of rows, in train and in test alike, that carry a wrong label


class Example(NamedTuple):
    """One row: a text and its label."""

    text: str
    label: str


class Corpus(NamedTuple):
    """The two files of one folder."""

    train: list[Example]
    test: list[Example]


# ---------------------------------------------------------------------------------------------
# Tools that every grammar uses
# ---------------------------------------------------------------------------------------------


class Slots(dict[str, str]):
    """Fills `{slot}` in a template by a random choice, another one at every mention.

    A choice may hold slots of its own. Use as `template.format_map(Slots(rng, lexicon))`.
    """

    def __init__(self, rng: random.Random, lexicon: Mapping[str, Sequence[str]]) -> None:
        """Start with every choice of `lexicon` unused."""
        super().__init__()
        self._rng = rng
        self._unused = {slot: list(choices) for slot, choices in lexicon.items()}

    def __missing__(self, slot: str) -> str:
        """Draw a choice for `slot`, and keep it from the next mention: no team meets itself."""
        unused = self._unused[slot]
        return unused.pop(self._rng.randrange(len(unused))).format_map(self)


def words(text: str) -> tuple[str, ...]:
    """Split a literal word list."""
    return tuple(text.split())


def phrases(text: str) -> tuple[str, ...]:
    """Split a literal list of phrases, separated by `|`, over any number of lines."""
    return tuple(" ".join(part.split()) for part in text.split("|"))


def weighted(rng: random.Random, table: Mapping[str, float]) -> str:
    """Draw a key of `table` with probability proportional to its weight."""
    rest = rng.random() * sum(table.values())
    for key, weight in table.items():
        rest -= weight
        if rest < 0:
            return key
    return key


def log_uniform(rng: random.Random, low: int, high: int) -> int:
    """Draw an integer in `low..high` whose logarithm is about uniform: short ones are common."""
    return int(low * ((high + 1) / low) ** rng.random())


def with_articles(text: str) -> str:
    """Turn `a` into `an` before a vowel, which templates cannot know beforehand."""
    parts = text.split(" ")
    for i in range(len(parts) - 1):
        if parts[i] in ("a", "A") and parts[i + 1][:1].lower() in set("aeiou"):
            parts[i] += "N" if text.isupper() else "n"
    return " ".join(parts)


def capitalised(text: str) -> str:
    """Upper-case the first letter and leave the others as they are."""
    return text[:1].upper() + text[1:]


def words_of(text: str) -> str:
    """The letters and digits of a text, without case and punctuation."""
    return "".join(c for c in text.lower() if c.isalnum() or c == " ").strip()


def distinct(
    draw: Callable[[], Example], count: int, other: Sequence[Example] = ()
) -> list[Example]:
    """Collect `count` examples, no two of which are the same words, and none that is in `other`.

    Case and punctuation do not make a text new: a copy that differs by a full stop alone would
    be the same bag of words, and in both train and test it would leak.
    """
    seen = {words_of(example.text) for example in other}
    examples: list[Example] = []
    while len(examples) < count:
        example = draw()
        key = words_of(example.text)
        if key not in seen:
            seen.add(key)
            examples.append(example)
    return examples


def with_label_noise(
    rng: random.Random,
    examples: Sequence[Example],
    labels: Sequence[str],
    noise: float = LABEL_NOISE,
) -> list[Example]:
    """Give exactly the share `noise` of the rows another label than the true one.

    The number is exact, not expected, so that the ceiling can be stated exactly: a model that
    always says the true label is right on 1 - noise of the rows.
    """
    noisy = list(examples)
    for i in rng.sample(range(len(noisy)), round(noise * len(noisy))):
        others = [label for label in labels if label != noisy[i].label]
        noisy[i] = Example(noisy[i].text, rng.choice(others))
    return noisy


# ---------------------------------------------------------------------------------------------
# Reviews: the sum of what the clauses say, where "not" turns a clause and "but" outweighs one
# ---------------------------------------------------------------------------------------------


class Aspect(NamedTuple):
    """Something that a review judges, with the words that praise it and the words that blame it.

    The same word may praise one aspect and blame another: that is the point of having aspects.
    """

    noun: str
    good: tuple[str, ...]
    bad: tuple[str, ...]

    @property
    def plural(self) -> bool:
        """Whether the verb after it takes its plural form."""
        return self.noun.endswith("s") and not self.noun.endswith("ss")


class Domain(NamedTuple):
    """One kind of thing that people review."""

    names: tuple[str, ...]  # "film", "movie": what the thing is called
    aspects: tuple[Aspect, ...]
    facts: tuple[str, ...]  # clauses that say nothing for or against
    praise: tuple[str, ...]  # whole clauses, without a plain polar word
    blame: tuple[str, ...]


def aspects(table: str) -> tuple[Aspect, ...]:
    """Read lines of `noun: good words / bad words`."""
    found: list[Aspect] = []
    for line in table.strip().splitlines():
        noun, _, rest = line.partition(":")
        good, _, bad = rest.partition("/")
        found.append(Aspect(noun.strip(), words(good), words(bad)))
    return tuple(found)


DOMAINS = (
    Domain(
        names=words("film movie picture sequel thriller comedy"),
        aspects=aspects(
            """
            plot: unpredictable clever layered tight simple / thin predictable long confused cheap
            acting: warm sharp natural subtle quiet / wooden cold flat loud stiff
            ending: unpredictable moving bold dark / rushed predictable cheap long
            jokes: sharp fresh dark quick / stale cheap old flat
            pace: quick steady relaxed / slow uneven rushed
            music: soft haunting quiet moving / loud cheap flat repetitive
            effects: sharp bold subtle / cheap loud dated
            dialogue: sharp dry natural quick / stiff flat slow
            camera work: steady bold fresh / shaky dark stiff
            """
        ),
        facts=phrases(
            """we saw it on a Friday night | the director is new to me | it runs for two hours |
            my sister picked it | it is based on a stage play | the hall was half full |
            I had read nothing about it | it is set in a harbour town"""
        ),
        praise=phrases(
            """I would watch it again tomorrow | I forgot the time | nobody in our row moved |
            I laughed until it hurt | I left the cinema smiling | give them every award"""
        ),
        blame=phrases(
            """I looked at my watch every minute | I want those two hours back |
            half of our row fell asleep | we left before the end | I left the cinema yawning |
            spare yourself the ticket"""
        ),
    ),
    Domain(
        names=words("restaurant place bistro diner canteen"),
        aspects=aspects(
            """
            soup: hot fresh rich light simple / cold thin salty bland
            beer: cold fresh light dark / warm flat bland
            service: quick warm attentive relaxed / slow cold rude stiff
            bill: small reasonable light / long heavy steep
            wine list: long rich reasonable / short thin steep
            tables: quiet large clean / small sticky loud
            bread: warm fresh light / stale cold dry heavy
            desserts: light rich fresh / heavy dry small
            room: warm quiet clean / dark loud cold
            """
        ),
        facts=phrases(
            """we were a party of five | we had booked for seven | it lies behind the station |
            I ordered the fish | the menu changes every month | we sat by the window |
            a friend had mentioned it | they open at noon"""
        ),
        praise=phrases(
            """we ordered the same again | I wiped the plate clean | we have booked again already |
            my mother asked for the recipe | worth every penny | I dream of that sauce"""
        ),
        blame=phrases(
            """half of it went back to the kitchen | we had a sandwich on the way home |
            never again | I was ill for two days | we paid and fled | save your money"""
        ),
    ),
    Domain(
        names=words("scooter gadget phone speaker camera drone"),
        aspects=aspects(
            """
            battery life: long steady reliable / short unpredictable poorer
            steering: sharp light steady / unpredictable heavy loose shaky
            screen: sharp large clear / dark small dull
            motor: quiet strong smooth / loud weak hot
            case: light slim sturdy / cheap heavy thin sticky
            menus: simple clear quick / slow long confused
            buttons: large clear sturdy / small loose sticky
            price: low reasonable cheap / steep high
            manual: short clear simple / long thin confused
            sound: rich clear warm / thin flat tinny
            """
        ),
        facts=phrases(
            """it came in a brown box | I have had it for three weeks | mine is the grey one |
            I use it on my way to work | there is a newer model | it replaces my old one |
            charging takes an hour | I bought it for my father"""
        ),
        praise=phrases(
            """I bought a second one for my brother | worth every penny | it does what it says |
            I use it every single day | it survived two falls | the family fights over it"""
        ),
        blame=phrases(
            """it went back the next day | mine broke within a week | save your money |
            it gathers dust in a drawer | support never answered | it died after two falls"""
        ),
    ),
    Domain(
        names=words("hotel inn hostel guesthouse resort"),
        aspects=aspects(
            """
            bed: large soft clean warm / hard short small sticky
            shower: hot strong clean / cold weak loud
            breakfast: rich fresh large hot / cold small stale dry
            staff: warm quick attentive / cold slow rude stiff
            walls: thick clean / thin dark dirty
            corridor: quiet clean wide / loud dark long
            pool: warm large clean quiet / cold small dirty
            view: wide clear moving / narrow dull
            rates: low reasonable cheap / steep high
            towels: soft thick fresh / thin stiff damp
            """
        ),
        facts=phrases(
            """we stayed for three nights | our room faced the yard | it lies near the harbour |
            I was there for a conference | we came by train | breakfast starts at seven |
            we had two rooms | it was the week before Easter"""
        ),
        praise=phrases(
            """we added another night | I slept like a stone | we did not want to leave |
            they remembered our names | we are coming back in May | it felt like home"""
        ),
        blame=phrases(
            """we left a night early | I did not sleep a minute | we asked for our money back |
            I found hair in the sink | next time I will sleep in the car | nobody said sorry"""
        ),
    ),
    Domain(
        names=words("book novel memoir story collection"),
        aspects=aspects(
            """
            story: unpredictable moving layered dark / thin slow predictable long
            prose: dry sharp clear simple rich / heavy flat dull stiff
            characters: warm complex sharp / flat cold wooden
            chapters: short tight quick / long uneven slow
            translation: natural clear fresh / stiff wooden dated
            opening: bold quick quiet / slow confused long
            ending: unpredictable bold quiet / rushed predictable cheap
            dialogue: natural dry quick / stiff wooden flat
            print: large clear / small thin
            cover: bold simple sturdy / cheap dull thin
            """
        ),
        facts=phrases(
            """it was a birthday present | I read it on the train | it is the second of three |
            our reading group chose it | it has four hundred pages | I know the author's essays |
            it is set on an island | I borrowed it from a colleague"""
        ),
        praise=phrases(
            """I read it in one night | I have lent it to everyone | I missed my stop twice |
            it stays on my shelf for good | I started again at page one | I cried on the train"""
        ),
        blame=phrases(
            """I gave up at page forty | it went straight to the charity shop | it put me to sleep |
            I skipped whole chapters | a leaflet has more to say | I still do not know why"""
        ),
    ),
)

GOOD = words(
    """good great excellent wonderful lovely superb brilliant fine impressive enjoyable solid
    charming perfect pleasant special memorable"""
)
BAD = words(
    """bad awful terrible poor dreadful disappointing mediocre annoying sloppy tedious weak
    forgettable horrible unpleasant painful lazy"""
)
GOOD_NOUNS = words("masterpiece delight triumph treat success bargain gem joy")
BAD_NOUNS = words("disaster failure mess joke disgrace waste nightmare letdown")
STRONG = words("very really truly so absolutely incredibly")
WEAK = phrases("a bit|somewhat|rather|fairly|a little")
NEGATED_SHARE = 0.14
NEGATIONS = (
    ("not {}", 2),
    ("not {} at all", 3),
    ("never {}", 2),
    ("hardly {}", 2),
    ("far from {}", 2),
    ("anything but {}", 3),
    ("by no means {}", 2),
    ("not exactly {}", 1),
    ("not very {}", 1),
    ("less {} than I had been told", 1),
)


class Clause(NamedTuple):
    """What a clause says and how much it weighs: above 0 for, below 0 against, 0 a mere fact."""

    text: str
    value: int


def verb(aspect: Aspect, past: bool) -> str:
    """The form of "to be" that goes with `aspect`."""
    return ("were" if past else "are") if aspect.plural else ("was" if past else "is")


def polar(rng: random.Random, aspect: Aspect, sign: int) -> str:
    """Draw an adjective that judges `aspect` with `sign`: its own more often than a general one."""
    if rng.random() < 0.6:
        return rng.choice(aspect.good if sign > 0 else aspect.bad)
    return rng.choice(GOOD if sign > 0 else BAD)


def predicate(rng: random.Random, aspect: Aspect, sign: int, past: bool) -> Clause:
    """Say that `aspect` is good or bad, in one of three plain ways: very, rather or simply so."""
    be = verb(aspect, past)
    said = polar(rng, aspect, sign)
    form = weighted(rng, {"simple": 5, "strong": 3, "weak": 2})
    if form == "strong":
        return Clause(f"{be} {rng.choice(STRONG)} {said}", 3 * sign)
    if form == "weak":
        said = rng.choice(aspect.good if sign > 0 else aspect.bad)  # nobody is "a bit excellent"
        return Clause(f"{be} {rng.choice(WEAK)} {said}", sign)
    return Clause(f"{be} {said}", 2 * sign)


def negated(rng: random.Random, aspect: Aspect, sign: int, past: bool) -> Clause:
    """Say it by naming the opposite ("not bad at all"), or seem to ("could not be better").

    One in six only looks negated, so that "not" alone is no reliable sign either.
    """
    be = verb(aspect, past)
    if rng.random() < 1 / 6:
        same = polar(rng, aspect, sign)
        decoys = (f"{be} not only {same} but {polar(rng, aspect, sign)} too",)
        return Clause(rng.choice((*decoys, f"could not be more {same}")), 3 * sign)
    negation, weight = rng.choice(NEGATIONS)
    return Clause(f"{be} {negation.format(polar(rng, aspect, -sign))}", weight * sign)


def opinion(rng: random.Random, domain: Domain, sign: int, past: bool) -> Clause:
    """Judge one aspect of the thing with one clause, plain or negated."""
    aspect = rng.choice(domain.aspects)
    judge = negated if rng.random() < NEGATED_SHARE else predicate
    said = judge(rng, aspect, sign, past)
    return Clause(f"the {aspect.noun} {said.text}", said.value)


def contrast(rng: random.Random, domain: Domain, sign: int, past: bool) -> Clause:
    """Say one thing and outweigh it by its opposite: the main clause counts 3, the other 1."""
    first, second = rng.sample(domain.aspects, 2)
    main = f"the {first.noun} {predicate(rng, first, sign, past).text}"
    side = f"the {second.noun} {predicate(rng, second, -sign, past).text}"
    pattern = rng.choice(
        (
            "{side}, but {main}",
            "{side}, but {main}",
            "{side}, yet {main}",
            "although {side}, {main}",
            "{main}, even though {side}",
            "{side}; all the same, {main}",
            "granted, {side}, but {main}",
            "while {side}, {main}",
        )
    )
    return Clause(pattern.format(main=main, side=side), 2 * sign)


def turned(rng: random.Random, domain: Domain, sign: int) -> Clause:
    """Name one judgement and mean the other: hopes, hearsay, the past, what might have been."""
    aspect = rng.choice(domain.aspects)
    same, opposite = polar(rng, aspect, sign), polar(rng, aspect, -sign)
    name = rng.choice(domain.names)
    good, bad = rng.choice(GOOD), rng.choice(BAD)
    forms = [
        f"the {aspect.noun} used to be {opposite}",
        f"I expected a {bad} {name} and got a {good} one"
        if sign > 0
        else f"I expected a {good} {name} and got a {bad} one",
        f"people call the {aspect.noun} {opposite}, and I disagree",
        f"they say the {aspect.noun} should be {opposite}; I found the {aspect.noun} {same}",
        f"whoever calls this {name} {bad if sign > 0 else good} must mean another one",
    ]
    if sign > 0:
        forms += [
            f"no complaints about the {aspect.noun}",
            f"nothing {bad} about the {aspect.noun}",
            f"I feared a {rng.choice(BAD_NOUNS)} and was wrong",
            f"not the {rng.choice(BAD_NOUNS)} that I was warned about",
        ]
    else:
        forms += [
            f"the {aspect.noun} could have been {good}",
            f"nothing {good} about the {aspect.noun}",
            f"I hoped for a {rng.choice(GOOD_NOUNS)} and was wrong",
            f"not the {rng.choice(GOOD_NOUNS)} that I was promised",
            f"I wanted to find the {aspect.noun} {opposite}",
        ]
    return Clause(rng.choice(forms), 2 * sign)


def verdict(rng: random.Random, domain: Domain, sign: int) -> Clause:
    """Sum the whole thing up: counts 3."""
    name = rng.choice(domain.names)
    lead = rng.choice(("overall", "all in all", "in the end", "in short", "for me"))
    noun = rng.choice(GOOD_NOUNS if sign > 0 else BAD_NOUNS)
    other = rng.choice(BAD_NOUNS if sign > 0 else GOOD_NOUNS)
    adjective = rng.choice(GOOD if sign > 0 else BAD)
    forms = (
        f"{lead}, a {adjective} {name}",
        f"{lead}, a {noun}",
        f"{lead}, hardly a {other}",
        f"{lead}, no {other}",
        f"{lead}, this {name} is a {noun}",
        f"{lead}, I {'can' if sign > 0 else 'cannot'} recommend this {name}",
        f"{lead}, this {name} {'deserves' if sign > 0 else 'does not deserve'} your money",
    )
    return Clause(rng.choice(forms), 3 * sign)


def review_clause(rng: random.Random, domain: Domain, sign: int, past: bool) -> Clause:
    """Draw one clause of any kind whose value has the sign `sign` (or is 0, for a fact)."""
    kind = weighted(rng, {"opinion": 54, "contrast": 11, "turned": 5, "idiom": 18, "fact": 12})
    if kind == "opinion":
        return opinion(rng, domain, sign, past)
    if kind == "contrast":
        return contrast(rng, domain, sign, past)
    if kind == "turned":
        return turned(rng, domain, sign)
    if kind == "idiom":
        return Clause(rng.choice(domain.praise if sign > 0 else domain.blame), 3 * sign)
    return Clause(rng.choice(domain.facts), 0)


OPENINGS = phrases(
    """well, | honestly, | to be fair, | I must say: | my first thoughts: | first things first: |
    what can I say? | update: | to my surprise, | OK, | so, | short version:"""
)
JOINTS = phrases(".|.|.|.|.|;|, and|, and|!|...|. Also,|. Then again,|. Besides,|. Oh, and")
AGREEMENT = 0.95  # share of clauses that agree with the label: few reviews are all of one mind
VERDICT_SHARE = 0.25


def review_text(rng: random.Random, clauses: Sequence[Clause]) -> str:
    """Join clauses as people do: some openings, some exclamation marks, some without capitals."""
    text = ""
    for i, clause in enumerate(clauses):
        said = clause.text
        if i == 0:
            if rng.random() < 0.25:
                opening = rng.choice(OPENINGS)
                text = opening + " "
                said = capitalised(said) if opening.endswith("?") else said
        else:
            joint = rng.choice(JOINTS)
            text += joint + " "
            if joint in (".", "!", "..."):
                said = capitalised(said)
        text += said
    text += weighted(rng, {".": 6, "!": 2, "": 2})
    style = rng.random()
    if style < 0.06:  # a whole review in capitals is rare, one without any is not
        text = text.upper() if len(text) < 60 else text
    elif style < 0.20:
        return with_articles(text.lower())
    return with_articles(capitalised(text))


def review(rng: random.Random) -> Example:
    """Draw a review of 1 to 8 clauses; its label is the sign of the sum of their values."""
    domain = rng.choice(DOMAINS)
    sign = rng.choice((-1, 1))
    past = rng.random() < 0.5
    while True:
        count = log_uniform(rng, 1, 7)  # a contrast is two clauses, so this makes 1 to about 8
        signs = [sign if rng.random() < AGREEMENT else -sign for _ in range(count)]
        clauses = [review_clause(rng, domain, s, past) for s in signs]
        if rng.random() < VERDICT_SHARE:
            clauses.append(verdict(rng, domain, sign))
        if len({clause.text for clause in clauses}) < len(clauses):
            continue  # nobody says the same thing twice
        if sum(clause.value for clause in clauses) * sign > 0:
            return Example(review_text(rng, clauses), "positive" if sign > 0 else "negative")


def reviews(rng: random.Random) -> Corpus:
    """Sentiment: 4,000 and 1,000 reviews, ceiling exactly 1 - LABEL_NOISE.

    The label without noise is a function of the text (the sum of the clauses' values), so whoever
    knows the grammar is right except where the label was flipped. A bag of single words sees the
    polar words and neither what negates them nor which side of a "but" they stand on.
    """
    examples = distinct(lambda: review(rng), 5000)
    labels = ("negative", "positive")
    return Corpus(
        with_label_noise(rng, examples[:4000], labels),
        with_label_noise(rng, examples[4000:], labels),
    )


# ---------------------------------------------------------------------------------------------
# Headlines: the first sentence decides, and topics borrow each other's words
# ---------------------------------------------------------------------------------------------


class Desk(NamedTuple):
    """One topic of the paper: its headlines, its follow-up sentences and what fills them."""

    heads: tuple[str, ...]
    follow_ups: tuple[str, ...]
    lexicon: dict[str, tuple[str, ...]]


# Words that every desk uses. The verbs are the ones that all news is written with.
COMMON: dict[str, tuple[str, ...]] = {
    "n": words("two three four five six seven eight nine ten twelve"),
    "pct": words("2 3 4 5 6 7 8 9 11 12 15 18 20 25 30 40"),
    "day": words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday"),
    "when": phrases(
        "this week|this year|after long wait|at last|once more|for now|in surprise move|again"
    ),
    "name": words(
        """Adler Okoro Lindqvist Marsh Petrov Vega Tanaka Doyle Mbeki Rossi Novak Haddad Keane
        Ibarra Sato Brandt Moreau Quill Farrow Amari"""
    ),
    "city": words(
        """Port-Elm Arvena Kestria Lowmere Tavask Ostrand Belmoor Quenta Halden Mirova
        Sandwick Norrby"""
    ),
    "rise": words("climbs jumps gains rises rebounds surges soars"),
    "fall": words("slips drops falls tumbles sinks slides dips"),
    "big": words("record major new rare late key bold historic early costly"),
    "drop": words("slip drop fall tumble sink slide dip"),
    "nth": words("second third fourth fifth sixth seventh eighth ninth tenth"),
    "warn": words("warns says insists admits hints fears"),
    "foresee": phrases("warns of|admits|fears|expects|denies|complains of|sees"),
    "doubt": words("doubts questions criticism setback delay trouble pressure concern"),
}

DESKS: dict[str, Desk] = {
    "business": Desk(
        heads=phrases(
            """{firm} {rise} {pct} percent as {market} recovers |
            {firm} shares {drop} on {doubt} over {product} |
            {firm} wins race to buy {firm} in {big} deal |
            {firm} scores with {product} as rivals miss targets |
            {market} {rise} after {big} week |
            Strike at {firm} plant enters {nth} day |
            {firm} to cut {n} hundred jobs in {city} |
            {firm} chief {name} {foresee} {doubt} in {market} |
            Net profit at {firm} {fall} {pct} percent |
            {firm} sells cell phone unit to {firm} |
            {firm} and {firm} match offers for {product} maker |
            Bank {warn} {market} may overheat |
            {firm} courts investors with {big} {product} |
            {name} leaves {firm} {when} |
            {firm} star {product} loses its shine |
            {market}: bulls fight bears to a draw |
            {firm} launches {product} in {city} {when} |
            Trial of {firm} founder {name} opens |
            {firm} borrows {pct} million for {product} plant"""
        ),
        follow_ups=phrases(
            """Shares {drop} {pct} percent. | Analysts had expected more. | The board meets {day}. |
            Investors remain calm. | The deal needs approval. | Prices may follow. |
            No figures were given. | It is a tight race."""
        ),
        lexicon={
            "firm": phrases(
                """Norvex|Halcyon Foods|Brightwater|Tellum Motors|Castor Bank|Ardent Steel|
                Pelican Air|Union Cell|Meridian Oil|Lumen Retail|Vantage Insurance|Orbit Media|
                Glacier Beer|Summit Chips"""
            ),
            "market": phrases(
                """market|housing market|bond market|export trade|copper|crude oil|coffee price|
                jobs market|freight trade|exchange"""
            ),
            "product": phrases(
                """battery|truck|loan|airline|chip|budget phone|store card|games console|
                electric van|drug|satellite service"""
            ),
        },
    ),
    "culture": Desk(
        heads=phrases(
            """{artist} opens {fest} with {big} {work} |
            {work} by {artist} sells for record {pct} million |
            {artist} wins {prize} for {work} |
            {fest} drops {artist} {when} |
            Review: {artist} plays it safe in {big} {work} |
            {artist} and {artist} team up for {work} |
            {museum} recovers lost {work} |
            Strike silences {museum} {when} |
            {artist} trades stage for screen |
            {work} on cell life in {city} prison moves {fest} |
            {museum} in race to save {big} {work} |
            Critics split over {artist} {work} |
            A perfect match: {artist} meets {artist} |
            {fest} draws {big} crowd to {city} |
            {artist} returns {when} with {work} |
            {museum} director {name} {foresee} {doubt} |
            {artist} scores hit with {work} about war |
            Film on space race takes {prize} |
            {work} about bank crash tops charts"""
        ),
        follow_ups=phrases(
            """Tickets go on sale {day}. | The cast stays secret. | Critics are divided. |
            It runs for {n} weeks. | The crowd rose to its feet. | A tour will follow. |
            No replacement was named. | The curtain rises {day}."""
        ),
        lexicon={
            "artist": phrases(
                """singer {name}|pianist {name}|director {name}|novelist {name}|painter {name}|
                {name} Quartet|actor {name}|poet {name}|the Paper Foxes|rapper {name}|
                dancer {name}"""
            ),
            "work": phrases(
                """album|opera|play|novel|musical|portrait|film|ballet|series|symphony|show|
                sculpture"""
            ),
            "fest": phrases("{city} festival|film week|jazz nights|book fair|theatre season"),
            "prize": phrases("Golden Lamp|{city} medal|critics' award|book prize|top prize"),
            "museum": phrases("{city} museum|city opera|national gallery|old theatre|library"),
        },
    ),
    "science": Desk(
        heads=phrases(
            """{team} finds {big} {thing} in {place} |
            {thing} may explain {doubt} in {place}, study {warn} |
            Cell therapy passes {big} trial |
            {probe} in race against time to reach {place} |
            {probe} strikes {place} in {big} test |
            {team} maps {thing} of {place} |
            New {thing} matches theory, {team} {warn} |
            {team} turns waste into {material} |
            Study links {thing} to record heat |
            Market for rare {material} drives search in {place} |
            {probe} returns with {material} {when} |
            Trial of {material} drug halted over {doubt} |
            {team} trains chip to spot {thing} |
            {pct} percent of {thing} habitat lost, study {warn} |
            Net of sensors tracks {thing} in {place} |
            {name} wins {big} grant to study {thing} |
            {thing} numbers {drop} as {place} warms |
            Telescope shoots star at birth |
            Birds play games too, {team} {warn}"""
        ),
        follow_ups=phrases(
            """The data are public. | Others must repeat the test. | It took {n} years. |
            The team used {n} hundred samples. | The cause is unknown. | Results appear {day}. |
            No one had looked there. | The effect is small."""
        ),
        lexicon={
            "team": phrases(
                """{city} lab|{city} university|team|biology group|physics group|team led by {name}|
                climate group|student team|sky survey|doctor"""
            ),
            "thing": phrases(
                """cell|gene|fungus|coral|virus|particle|bee colony|comet|fossil|protein|signal|
                ancient plant|current|bacterium"""
            ),
            "place": phrases(
                """deep sea|Mars orbit|polar ice|brain|far galaxy|soil|lake bed|upper air|
                desert cave|lunar crater"""
            ),
            "probe": phrases("probe|rover|balloon|submarine robot|satellite|capsule"),
            "material": phrases("lithium|carbon|enzyme|glass|salt|copper|hydrogen|moon rock|dust"),
        },
    ),
    "sports": Desk(
        heads=phrases(
            """{club} {beat} {club} in {big} {game} |
            {player} strikes late as {club} draw with {club} |
            {club} sign {player} for record {pct} million |
            {player} {rise} to top of table |
            {club} {drop} to {nth} loss in row |
            {player} out for {n} weeks |
            {player} sets {big} record in {race} |
            {club} coach {name} {foresee} {doubt} before {game} |
            Market for goalkeepers heats up as {club} bid |
            {player} wins {race} {when} |
            {club} trade {player} to {club} |
            Rain stops {game} in {city} |
            {player} banned after failed test |
            {club} find right chemistry in {game} |
            {player} nets {n} as {club} advance |
            {club} bank on {player} for {game} |
            Peace at {club}: {player} stays |
            {player} on trial at {club} |
            {club} shares lead after {game}"""
        ),
        follow_ups=phrases(
            """The return match is on {day}. | The crowd went home early. | He missed {n} chances. |
            The referee saw no foul. | It ended 2-1. | The league will decide. |
            She led from the start. | No date was given."""
        ),
        lexicon={
            "club": phrases(
                """{city}|{city} United|{city} Rovers|{city} Bears|{city} Stars|the Hawks|
                the Comets|{city} City"""
            ),
            "player": phrases(
                """{name}|captain {name}|striker {name}|keeper {name}|champion {name}|
                sprinter {name}|rookie {name}|swimmer {name}"""
            ),
            "beat": words("beat crush edge stun hold outplay sink"),
            "game": words("final match derby game semifinal opener replay playoff"),
            "race": phrases("marathon|{city} race|slalom|relay|sprint|cycle tour|open water race"),
        },
    ),
    "world": Desk(
        heads=phrases(
            """{land} and {land} sign {big} {pact} |
            {leader} of {land} {foresee} {doubt} over {pact} |
            {n} {hurt} in {event} near {city} |
            {event} strikes {land} {when} |
            {land} votes {day} in tight race |
            {leader} {name} wins {big} majority in {land} |
            General strike brings {land} to halt |
            {land} opens border to {land} {when} |
            Talks on {pact} end without deal |
            {land} court frees {leader} {name} |
            Record number flee {event} in {land} |
            {land} closes net on smugglers |
            {land} plays for time over {pact} |
            {leader} {name} quits after {n} years |
            Bomb at {city} market: {n} {hurt} |
            {leader} held in {city} cell faces trial |
            Support for {leader} {fall} to {pct} percent |
            {land} and {land} trade blame over {event} |
            {land} tests {big} missile"""
        ),
        follow_ups=phrases(
            """Both sides remain calm. | Thousands took to the streets. | Talks resume {day}. |
            The army is on alert. | Aid is on its way. | Observers see no fraud. |
            No group claimed it. | The vote is {day}."""
        ),
        lexicon={
            "land": words(
                """Kestria Arvena Tavask Ostrand Mirova Belmoor Zandria Ulvania Corvia
                Pellandia"""
            ),
            "leader": phrases("president|premier|opposition leader|minister|rebel chief|mayor"),
            "pact": phrases("peace plan|trade pact|border deal|water treaty|truce|oil embargo"),
            "event": phrases("flood|quake|storm|clashes|train crash|wildfire|landslide|drought"),
            "hurt": words("dead hurt missing rescued injured"),
        },
    ),
}

FOLLOW_UP_SHARE = 0.30
TEASER_SHARE = 0.16
TEASERS = phrases("Also: {}.|Plus: {}.|Inside: {}.|Next: {}.|Elsewhere: {}.")


def sentence(rng: random.Random, desk: Desk, templates: Sequence[str]) -> str:
    """Fill one of the templates of a desk."""
    slots = Slots(rng, COMMON | desk.lexicon)
    return capitalised(rng.choice(templates).format_map(slots))


def headline(rng: random.Random) -> Example:
    """Draw a headline, alone or with a second sentence: a follow-up, or a teaser of another desk.

    The teaser's words speak for the wrong topic. Word order tells which sentence came first, and
    a bag has none: this is what keeps a bag of words below the ceiling.
    """
    topics = tuple(DESKS)
    topic = rng.choice(topics)
    text = sentence(rng, DESKS[topic], DESKS[topic].heads)
    second = rng.random()
    if second < FOLLOW_UP_SHARE:
        text += ". " + sentence(rng, DESKS[topic], DESKS[topic].follow_ups)
    elif second < FOLLOW_UP_SHARE + TEASER_SHARE:
        other = rng.choice([name for name in topics if name != topic])
        teaser = sentence(rng, DESKS[other], DESKS[other].heads)
        text += ". " + rng.choice(TEASERS).format(teaser)
    return Example(text, topic)


def headlines(rng: random.Random) -> Corpus:
    """Topics of news: 4,000 and 1,000 headlines, ceiling exactly 1 - LABEL_NOISE.

    No template belongs to two desks, so the first sentence tells the topic to whoever knows the
    grammar. The desks share names, places, verbs and many nouns ("market", "match", "race",
    "record", "strike", "cell", "net", "trial", "trade", "star", "bank"), each in its own sense.
    """
    examples = distinct(lambda: headline(rng), 5000)
    labels = tuple(DESKS)
    return Corpus(
        with_label_noise(rng, examples[:4000], labels),
        with_label_noise(rng, examples[4000:], labels),
    )


# ---------------------------------------------------------------------------------------------
# Probes: word lists on which theory says which pooling mode must win
#
# A linear layer over pooled vectors is an affine function of what the pooling keeps: of the words'
# shares (mean), of their counts (sum), of which words are there at all (max). Each probe takes its
# label from one of the three. Shares and counts come apart only where lengths differ, because
# sum = length * mean: so lengths differ widely, and where theory tells the modes apart by what they
# promise about other lengths than those trained on, the test texts have other lengths.
# ---------------------------------------------------------------------------------------------

FILLERS = words(
    """the a of to in on at by for with and or as then so we you he she they it this that one two
    door cup hat road tree desk lamp coat boat page line room week hour glass table chair plate
    spoon fence wheel stone paper river field box bag car bus shop park yard wall floor roof key
    pen map sign bell clock shoe sock ring coin note card jar tin pot pan"""
)


def mixed(
    rng: random.Random, decisive: Sequence[str], length: int, fillers: Sequence[str] = FILLERS
) -> str:
    """Fill up with everyday words to `length` words, in random order: a bag has no order."""
    parts = list(decisive)
    parts += [rng.choice(fillers) for _ in range(length - len(decisive))]
    rng.shuffle(parts)
    return " ".join(parts)


WEATHER = words("rain snow hail fog wind")
PROPORTION_NOISE = 0.20


def proportion(rng: random.Random) -> Corpus:
    """The share of weather words decides: below one half is `calm`, above it `stormy`.

    Train: 2,000 texts of 16 to 60 words with shares of 0.2 to 0.47 and 0.53 to 0.8, of which
    exactly a fifth carry the wrong label. Test: 1,000 texts of 5 to 8 words with shares of at most
    0.4 and at least 0.6, all labels right, so the ceiling is 1.

    Why mean must win. A clean label would not be enough: sum = length * mean, so a sum model can
    say "share above one half" by giving weather words +1 and all others -1, and without the noise
    it learns just that and is right on all test texts. The noise makes the difference. It makes
    the probability of `stormy` 0.2 or 0.8, a function of the share alone, and so is the logit of a
    mean model. That of a sum model grows with the length: on long texts it is far too sure of
    itself, cross-entropy charges most for the wrong labels there, and pays for bending the weights
    of single words to fit them. A long text hides a bent weight among many others, a short one
    does not. The difference is thus one of learning, not of what can be represented, and sum stays
    well above chance. A mean model bends too, only less: train it long and its last epoch is worse
    than its best. Max sees that both kinds of words are there, and little else: the number of
    different weather words still says something.
    """

    def draw(low: int, high: int, gap: float) -> Example:
        stormy = rng.random() < 0.5
        while True:
            length = log_uniform(rng, low, high)
            wet = rng.randrange(1, length)
            margin = wet / length - 0.5
            if gap <= (margin if stormy else -margin) <= 0.3:
                weather = [rng.choice(WEATHER) for _ in range(wet)]
                return Example(mixed(rng, weather, length), "stormy" if stormy else "calm")

    train = distinct(lambda: draw(16, 60, 0.03), 2000)
    test = distinct(lambda: draw(5, 8, 0.09), 1000)
    return Corpus(with_label_noise(rng, train, ("calm", "stormy"), PROPORTION_NOISE), test)


def count(rng: random.Random) -> Corpus:
    """The number of coffees decides: one is `quiet`, four are `busy`.

    Train: 3,500 texts, test: 1,000 texts, both of 5 to 40 words; the length is drawn without
    regard to the label. No noise: the ceiling is 1.

    Why sum must win. It counts: a weight for `coffee`, none for the others, and a bias of minus
    two and a half coffees. A mean model sees count / length: one coffee in five words is a larger
    share than four in thirty, so no threshold on the share is right for all lengths. The best one
    is right on about four texts of five, because the counts differ by a factor of 4 and the
    lengths by one of 8. Max cannot tell one coffee from four: `coffee` is there in every text. It
    is left with a faint trace (four coffees leave less room for other words, which shows in the
    shortest texts) and stays near chance, 0.5.

    Only the wide range of lengths makes a sum model use its bias: as long as the lengths are
    alike, a small weight on all the other words does the same. The bias is also what it learns
    last, so a run of few small steps ends well short of the ceiling, yet ahead of mean.
    """
    fillers = FILLERS[:40]

    def draw() -> Example:
        busy = rng.random() < 0.5
        coffees = ["coffee"] * (4 if busy else 1)
        text = mixed(rng, coffees, log_uniform(rng, 5, 40), fillers)
        return Example(text, "busy" if busy else "quiet")

    examples = distinct(draw, 4500)
    return Corpus(examples[:3500], examples[3500:])


WARNINGS = words("leak crack rust damp smoke")
ALARMS = words("fire flood gas blast quake")


def trigger(rng: random.Random) -> Corpus:
    """The most severe word decides: any alarm is `alarm`, else any warning is `warning`.

    Train: 3,000 reports, each with 0 to 4 warnings beside its one alarm, or 1 to 5 warnings, or
    neither (`fine`). Test: 1,000 reports with 0 to 30 and 1 to 31 warnings and more everyday
    words. No noise: the ceiling is 1.

    Why max must win. An alarm among thirty warnings changes the maximum just as much as an alarm
    alone; a word said thirty times changes it no more than once. A sum model needs an alarm to
    outweigh all the warnings that there can be: it could represent that for up to thirty by a
    weight more than thirty times as large, but it learns from reports with at most four, and
    nothing there asks for more. For mean the alarm is diluted besides.
    """

    def draw(warnings: int, fillers: int) -> Example:
        label = rng.choice(("fine", "warning", "alarm"))
        decisive: list[str] = []
        if label != "fine":
            # Half of the reports name a single warning or none, the others any number.
            many = rng.randrange(warnings + 1) if rng.random() < 0.5 or label == "alarm" else 0
            many += label == "warning"
            decisive += [rng.choice(WARNINGS) for _ in range(many)]
        if label == "alarm":
            decisive.append(rng.choice(ALARMS))
        return Example(mixed(rng, decisive, len(decisive) + log_uniform(rng, 2, fillers)), label)

    train = distinct(lambda: draw(4, 6), 3000)
    return Corpus(train, distinct(lambda: draw(30, 12), 1000, other=train))


# ---------------------------------------------------------------------------------------------
# Files
# ---------------------------------------------------------------------------------------------

CORPORA: dict[str, Callable[[random.Random], Corpus]] = {
    "reviews": reviews,
    "headlines": headlines,
    "probe_proportion": proportion,
    "probe_count": count,
    "probe_trigger": trigger,
}


def write_csv(path: Path, examples: Sequence[Example]) -> None:
    """Write one file: UTF-8, header `text,label`, a line feed after every row on every system."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Example._fields)
        writer.writerows(examples)


def write_all(out: Path) -> None:
    """Write train.csv and test.csv of every corpus into folders below `out`."""
    for name, build in CORPORA.items():
        # A text seed goes through SHA-512, the same everywhere, and gives each corpus a stream
        # of its own.
        corpus = build(random.Random(f"{SEED}/{name}"))
        write_csv(out / name / "train.csv", corpus.train)
        write_csv(out / name / "test.csv", corpus.test)


def main() -> None:
    """Read the command line and write the files."""
    parser = argparse.ArgumentParser(description="Write the project's own corpora.")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).resolve().parent, help="where (default: here)"
    )
    write_all(parser.parse_args().out)


if __name__ == "__main__":
    main()
