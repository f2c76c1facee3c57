"""Trains a small transformer on text, letter by letter, and lets it write.

    python examples/write_text.py                            # on the pages of this repository
    python examples/write_text.py --text poems.txt --steps 3000

It takes a minute or two. At this size one thread is quicker than several, above all where other
programs run: start it with OPENBLAS_NUM_THREADS=1.

The model that is trained sees whole windows of text at once; the one that writes has the same
parameters and a cache, so that each new letter costs one step.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import kinone as kn
from kinone import losses, nn, optim, random
from kinone.training import Progress, checkpoint

Array = np.ndarray[Any, Any]

ROOT = Path(__file__).parent.parent
WINDOW = 64
BATCH = 16


def language_model(letters: int, cache: int | None = None) -> nn.Layer:
    """Letters (N, T), as integers, to logits of the letter after each, (N, T, letters)."""
    return nn.Sequential(
        embedding=nn.Embedding(letters, 64),
        body=nn.TransformerEncoder(
            2, 4, 256, norm_first=True, causal=True, rotary=10000.0, cache=cache
        ),
        head=nn.Dense(letters),
    )


def windows(text: Array, key: random.Key) -> tuple[Array, Array]:
    """Random pieces of the text, and the same pieces one letter on."""
    starts = random.randint(key, (BATCH,), 0, len(text) - WINDOW)
    pieces = text[starts[:, None] + np.arange(WINDOW + 1)]
    return pieces[:, :-1], pieces[:, 1:]


def make_step(
    model: nn.Layer, optimizer: optim.GradientTransformation
) -> Callable[[Any, Any, Array, Array], tuple[Any, Any, Array]]:
    """From parameters and the optimiser's state to the next ones, and the loss.

    It is compiled once, for all batches have one shape.
    """

    def loss_fn(params: Any, x: Array, y: Array) -> Any:
        logits, _ = model.apply(params, {}, x, train=True)
        return losses.softmax_cross_entropy_with_integer_labels(logits, y, reduction="mean")

    @kn.jit
    def step(params: Any, state: Any, x: Array, y: Array) -> tuple[Any, Any, Array]:
        loss, gradients = kn.value_and_grad(loss_fn)(params, x, y)
        updates, state = optimizer.update(gradients, state, params)
        return optim.apply_updates(params, updates), state, loss

    return step


def write(
    params: Any, letters: int, prompt: Array, length: int, temperature: float, key: random.Key
) -> Iterator[int]:
    """Draws `length` letters after the prompt, each from what the model expects there.

    It has never seen more than a window, so when the cache is full it begins again, with the last
    half of a window.
    """
    model = language_model(letters, cache=WINDOW)
    _, empty = model.init(key["init"], prompt[None, :1])
    step = kn.jit(lambda cache, x: model.apply(params, cache, x))
    text = [int(letter) for letter in prompt]
    cache, seen, piece = empty, 0, text[-WINDOW // 2 :]
    for number in range(length):
        if seen == WINDOW:
            cache, seen, piece = empty, 0, text[-WINDOW // 2 :]
        logits, cache = step(cache, np.array([piece]))
        seen += len(piece)
        letter = int(random.categorical(key.fold_in(number), logits[0, -1] / temperature))
        yield letter
        text.append(letter)
        piece = [letter]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Train a small language model on text, and let it write.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--text", type=Path, nargs="+", help="what it reads [README.md, docs/]")
    parser.add_argument("--steps", type=int, default=1500, help="batches to learn from")
    parser.add_argument("--prompt", default="A gradient is ", help="how the text begins")
    parser.add_argument("--length", type=int, default=300, help="letters that it writes")
    parser.add_argument("--temperature", type=float, default=0.6, help="low is dull, high is wild")
    parser.add_argument("--seed", type=int, default=0, help="decides all that is random")
    parser.add_argument("--output", type=Path, help="a file for the parameters, such as lm.npz")
    options = parser.parse_args(arguments)

    pages = options.text or [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    words = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    alphabet = sorted({*words, *options.prompt})
    numbers = {letter: number for number, letter in enumerate(alphabet)}
    text = np.array([numbers[letter] for letter in words])
    if len(text) <= WINDOW:
        parser.error(f"the text has {len(text)} letters, and more than {WINDOW} are wanted")

    key = random.key(options.seed)
    model = language_model(len(alphabet))
    params, _ = model.init(key["init"], text[None, :WINDOW])
    optimizer = optim.chain(
        optim.clip_by_global_norm(1.0),
        optim.adamw(
            optim.warmup_cosine_decay_schedule(0.0, 3e-3, options.steps // 10, options.steps),
            mask="**/kernel",
        ),
    )
    state = optimizer.init(params)
    step = make_step(model, optimizer)
    print(f"{len(text):,} letters of {len(alphabet)} kinds, {kn.tree.size(params):,} parameters")
    average = 0.0
    with Progress(options.steps, unit="steps") as progress:
        for number in range(options.steps):
            x, y = windows(text, key["windows"].fold_in(number))
            params, state, loss = step(params, state, x, y)
            average += (float(loss) - average) / min(number + 1, 50)
            progress.update(loss=average)
    print(f"loss {average:.4f}")
    if options.output is not None:
        checkpoint.save(options.output, params, metadata={"alphabet": alphabet})

    prompt = np.array([numbers[letter] for letter in options.prompt])
    print(options.prompt, end="")
    for letter in write(
        params, len(alphabet), prompt, options.length, options.temperature, key["write"]
    ):
        print(alphabet[letter], end="", flush=True)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
