"""Regular expressions in time linear in the text, as RE2 has them: no pattern can hang us.

Python's own `re` backtracks: `(a+)+b` takes years on forty letters. Here a pattern is a list of
instructions, and all places in it that the letters so far can lead to are followed at once, one
letter after the other (Thompson 1968). `re` still reads single characters and classes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass

LONGEST = 20_000  # instructions
MOST_REPEATS = 1000  # as in RE2
DEEPEST = 100

Test = Callable[[str], bool]


@dataclass
class _Letter:
    """Takes one letter that passes a test."""

    test: Test


@dataclass
class _Where:
    """Goes on only at a place of the text that passes a test, (text, place)."""

    test: Callable[[str, int], bool]


@dataclass
class _Fork:
    """Goes on at each of these distances from here."""

    ways: tuple[int, ...]


Program = list[_Letter | _Where | _Fork]


def compile(pattern: str) -> Callable[[str], bool]:
    """The function that says whether a whole text matches a pattern in RE2's syntax.

    Raises `ValueError` for a pattern that is not one; references and looking around are none.

        >>> compile("(a|b)+c{2,}")("abacc")
        True
    """
    reader = _Reader(pattern)
    program = reader.alternatives()
    if not reader.at_end():
        raise ValueError("there is a ) without its (")

    def matches(text: str) -> bool:
        places = _reached(program, [0], text, 0)
        for here, letter in enumerate(text):
            after = [
                place + 1
                for place in places
                if place < len(program)
                and isinstance(step := program[place], _Letter)
                and step.test(letter)
            ]
            if not after:
                return False
            places = _reached(program, after, text, here + 1)
        return len(program) in places

    return matches


def _reached(program: Program, starts: Iterable[int], text: str, here: int) -> set[int]:
    """Where one gets from these instructions without a letter; the program's length is its end."""
    seen: set[int] = set()
    todo = list(starts)
    while todo:
        place = todo.pop()
        if place in seen:
            continue
        seen.add(place)
        step = program[place] if place < len(program) else None
        if isinstance(step, _Fork):
            todo.extend([place + way for way in step.ways])
        elif isinstance(step, _Where) and step.test(text, here):
            todo.append(place + 1)
    return seen


def _in_word(text: str, here: int) -> bool:
    letter = text[here] if 0 <= here < len(text) else ""
    return letter == "_" or (letter.isascii() and letter.isalnum())


def _at_edge(text: str, here: int) -> bool:
    return _in_word(text, here - 1) != _in_word(text, here)


_PLACES: dict[str, Callable[[str, int], bool]] = {
    r"\A": lambda text, here: here == 0,
    r"\z": lambda text, here: here == len(text),
    r"\b": _at_edge,
    r"\B": lambda text, here: not _at_edge(text, here),
}
_LINE_PLACES: dict[str, Callable[[str, int], bool]] = {
    "^": lambda text, here: here == 0 or text[here - 1] == "\n",
    "$": lambda text, here: here == len(text) or text[here] == "\n",
}
_REPEAT = re.compile(r"(?:([*+?])|\{(\d+)(,?)(\d*)\})\??")
_GROUP = re.compile(r"\(\?(?:P?<\w+>|([imsU]*)(?:-([imsU]+))?(:|\)))")
_ATOM = re.compile(
    r"\\p\{\^?\w+\}|\\P\{\^?\w+\}|\\[pP]\w|\\x\{[0-9a-fA-F]+\}|\\x[0-9a-fA-F]{2}|\\0[0-7]{0,2}|\\[^\W\d_]|\\\W|\\_"
    r"|\[\^?\]?(?:\[:\^?\w+:\]|\\p\{\^?\w+\}|\\.|[^\]\\])*\]|[^\\]",
    re.DOTALL,
)
_POSIX = {
    "alnum": "0-9A-Za-z", "alpha": "A-Za-z", "ascii": r"\x00-\x7F", "blank": r"\t ",
    "cntrl": r"\x00-\x1F\x7F", "digit": "0-9", "graph": "!-~", "lower": "a-z", "print": " -~",
    "punct": r"!-/:-@\[-`{-~", "space": r"\t\n\v\f\r ", "upper": "A-Z", "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f", "d": "0-9", "w": "0-9A-Za-z_", "s": r"\t\n\f\r ",
}  # fmt: skip


class _Reader:
    """Reads a pattern from left to right."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.place = 0
        self.flags = frozenset[str]()
        self.depth = 0

    def at_end(self) -> bool:
        return self.place >= len(self.pattern)

    def alternatives(self) -> Program:
        """`a|b|c`, up to the group's end."""
        self.depth += 1
        if self.depth > DEEPEST:
            raise ValueError(f"groups are nested deeper than {DEEPEST}")
        flags = self.flags
        program = self.sequence()
        while not self.at_end() and self.pattern[self.place] == "|":
            self.place += 1
            other = self.sequence()
            program = [_Fork((1, len(program) + 2)), *program, _Fork((len(other) + 1,)), *other]
            _checked(program)
        self.flags = flags
        self.depth -= 1
        return program

    def sequence(self) -> Program:
        program: Program = []
        while not self.at_end() and self.pattern[self.place] not in "|)":
            one = self.piece()
            while repeat := _REPEAT.match(self.pattern, self.place):
                self.place = repeat.end()
                one = _repeated(one, repeat)
            program += one
            _checked(program)
        return program

    def piece(self) -> Program:
        """A group, a place, or a letter."""
        if self.pattern[self.place] == "(":
            return self.group()
        if self.pattern[self.place] in "*+?":
            raise ValueError(f"nothing to repeat at {self.pattern[self.place :]!r}")
        if self.pattern.startswith(r"\Q", self.place):
            start, (literal, _, _) = self.place, self.pattern[self.place + 2 :].partition(r"\E")
            self.place = min(start + 4 + len(literal), len(self.pattern))
            return [_Letter(self.letter(re.escape(each))) for each in literal]
        found = _ATOM.match(self.pattern, self.place)
        if found is None:
            raise ValueError(f"{self.pattern[self.place :]!r} is not RE2's syntax")
        self.place = found.end()
        atom = found[0]
        if atom in _LINE_PLACES:
            many = "m" in self.flags
            return [
                _Where(_LINE_PLACES[atom] if many else _PLACES[r"\A" if atom == "^" else r"\z"])
            ]
        return [_Where(_PLACES[atom])] if atom in _PLACES else [_Letter(self.letter(atom))]

    def group(self) -> Program:
        flags = self.flags
        special = _GROUP.match(self.pattern, self.place)
        if special is None and self.pattern.startswith("(?", self.place):
            raise ValueError(f"{self.pattern[self.place :]!r} is not RE2's syntax")
        self.place = special.end() if special else self.place + 1
        if special and special[3]:
            self.flags = (flags | set(special[1] or "")) - set(special[2] or "")
            if special[3] == ")":  # from here to the end of the group around
                return []
        program = self.alternatives()
        if self.at_end() or self.pattern[self.place] != ")":
            raise ValueError("a ( lacks its )")
        self.place += 1
        self.flags = flags
        return program

    def letter(self, atom: str) -> Test:
        """The test of one letter: `a`, `.`, `\\d`, `[a-z]`, `\\p{Lu}`."""
        if atom[:2] in (r"\p", r"\P"):
            name = atom[2:].strip("{}")
            if name.lstrip("^") not in _CATEGORIES:
                raise ValueError(f"the class {atom} of letters is not known")
            wanted = (atom[1] == "p") != name.startswith("^")
            kind = name.lstrip("^")
            return lambda letter: unicodedata.category(letter).startswith(kind) == wanted
        atom = re.sub(r"\\x\{([0-9a-fA-F]+)\}", lambda code: re.escape(chr(int(code[1], 16))), atom)
        if atom.startswith("["):
            if r"\p" in atom or r"\P" in atom:
                raise ValueError(f"the class {atom} holds a class of Unicode")
            atom = re.sub(r"\[:(\^?)(\w+):\]", _posix, atom)
            atom = atom[0] + re.sub(r"(?<!\\)\[", r"\\[", atom[1:])
            atom = re.sub(r"([&|~-])(?=\1)", r"\\\1", atom)  # no operations on sets
            atom = re.sub(r"\\([dws])", lambda found: _POSIX[found[1]], atom)
        any_case = "i" in self.flags and not re.fullmatch(r"\\[dDsSwW]", atom)
        flags = re.RegexFlag(re.IGNORECASE if any_case else re.ASCII)
        if "s" in self.flags:
            flags |= re.DOTALL
        try:
            test = re.compile(atom, flags)
        except (re.error, OverflowError) as error:
            raise ValueError(str(error)) from None
        return lambda letter: test.fullmatch(letter) is not None


_CATEGORIES = frozenset(unicodedata.category(chr(code)) for code in range(0x3000)) | set("CLMNPSZ")


def _posix(found: re.Match[str]) -> str:
    if found[1] or found[2] not in _POSIX:
        raise ValueError(f"the class {found[0]} is not known")
    return _POSIX[found[2]]


def _repeated(one: Program, repeat: re.Match[str]) -> Program:
    low, high = {"*": (0, None), "+": (1, None), "?": (0, 1)}.get(repeat[1], (0, 0))
    if repeat[2]:
        low = int(repeat[2])
        high = low if not repeat[3] else int(repeat[4]) if repeat[4] else None
        if max(low, high or 0) > MOST_REPEATS or (high is not None and high < low):
            raise ValueError(f"cannot repeat {repeat[0]}")
    program = _checked(one * low, len(one) * (high or 0))
    if high is None:
        return [*program, _Fork((1, len(one) + 2)), *one, _Fork((-len(one) - 1,))]
    return program + [_Fork((1, len(one) + 1)), *one] * (high - low)


def _checked(program: Program, more: int = 0) -> Program:
    if len(program) + more > LONGEST:
        raise ValueError("it is too long once its repeats are written out")
    return program
