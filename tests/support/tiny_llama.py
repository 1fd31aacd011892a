"""A tiny Llama built by arithmetic: a real tokenizer and weights that write varied text.

Nothing is downloaded and no library is needed, so every machine gets the same model. The
weights are not trained: each token's output vector is the embedding of the token before it on
one long tour through the vocabulary, so greedy decoding walks that tour; attention over the
earlier text adds enough noise to make it jump, so the text depends on the whole context.
The tour visits byte tokens in an order that spells valid UTF-8, hence characters that are
split over several tokens. The end token is never likely: an answer ends at `max_tokens`,
at a stop string, or where `logit_bias` forces it.
"""

import itertools
import math
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

END = "<|end|>"
SPECIAL = ("<|pad|>", "<|begin|>", END, "<|system|>", "<|user|>", "<|assistant|>")
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' }}"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}{{ part['text'] }}{% endfor %}{% endif %}"
    "{{ '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)

CORPUS = """
The gate stands open in the morning and the water moves through it without a sound. A keeper
counts the boats, writes the number in a book, and opens the second gate when the first one is
full. Nobody waits longer than they must, and nobody is forgotten. When one channel runs dry the
keeper sends the boats through another; the travellers notice nothing but the light on the water.
What is the price of a stream that never stops? Count the tokens, settle the account, write the
line. The engine answers, the engine fails, the engine comes back. Hello world, how are you today?
She said that there were three hundred and twenty questions, and that every question had an answer
which could be read aloud. Numbers like 0, 1, 2, 10, 64, 128, 2026 and 3.14 stand between words.
Das Tor steht am Morgen offen, und das Wasser fließt hindurch; der Wärter zählt die Boote für das
Buch. Größe, Straße, Übung, schön. La porte s'ouvre à l'aube et l'eau passe sans bruit; déjà vu,
ça va, où êtes-vous? Ворота открыты утром, и вода течёт тихо. Вода, город, мир.
水は静かに門を通る。朝の門は開いている。你好、世界。早上门开着、水静静地流过。
안녕하세요 세계. Καλημέρα κόσμε. 😀 🚀 🌊 👋🏽 def main(): return {"model": "tiny", "stream": true}
"""
# An approximation of GPT-2's pattern, close enough to choose merges; encoding uses the engines'.
WORDS = re.compile(r" ?[^\W\d_]+| ?\d+| ?[^\s\w]+|\s+")

VOCABULARY_SIZE = 640
LAYERS, HIDDEN, INTERMEDIATE = 2, 256, 512
HEADS, KV_HEADS, HEAD_SIZE = 4, 2, 64
CONTEXT = 16384
NORM_EPSILON = 1e-5
ROPE_THETA = 10000.0

Matrix = list[list[float]]


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """A byte-level BPE vocabulary: tokens in order of id, and merges in order of rank."""

    tokens: tuple[str, ...]
    merges: tuple[tuple[str, str], ...]

    def id_of(self, token: str) -> int:
        return self.tokens.index(token)


@dataclass(frozen=True, slots=True)
class TinyLlama:
    """The model as values; `weights` maps Hugging Face tensor names to rows of numbers."""

    tokenizer: Tokenizer
    weights: dict[str, Matrix]


def build(seed: int = 20) -> TinyLlama:
    tokenizer = train_tokenizer()
    return TinyLlama(tokenizer, make_weights(tokenizer, random.Random(seed)))


def byte_letters() -> dict[int, str]:
    """GPT-2's printable stand-in for each byte."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    unprintable = (byte for byte in range(256) if byte not in printable)
    return {byte: chr(byte) for byte in printable} | {
        byte: chr(256 + place) for place, byte in enumerate(unprintable)
    }


def train_tokenizer() -> Tokenizer:
    letters = byte_letters()
    words = Counter(
        tuple(letters[byte] for byte in word.encode()) for word in WORDS.findall(CORPUS)
    )
    tokens = [*SPECIAL, *(letters[byte] for byte in range(256))]
    merges: list[tuple[str, str]] = []
    while len(tokens) < VOCABULARY_SIZE:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, times in words.items():
            for pair in itertools.pairwise(word):
                pairs[pair] += times
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        if (merged := best[0] + best[1]) not in tokens:
            tokens.append(merged)
        words = Counter({_merge(word, best): times for word, times in words.items()})
    return Tokenizer(tuple(tokens), tuple(merges))


def _merge(word: Sequence[str], pair: tuple[str, str]) -> tuple[str, ...]:
    merged: list[str] = []
    for letter in word:
        if merged and (merged[-1], letter) == pair:
            merged[-1] += letter
        else:
            merged.append(letter)
    return tuple(merged)


def tour(tokenizer: Tokenizer, rng: random.Random) -> list[int]:
    """Token ids in the order greedy decoding visits them; text that is always valid UTF-8.

    Whole-character tokens come in random order; in between, byte tokens spell characters of
    two, three and four bytes, each byte used at most once.
    """
    byte_of = {letter: byte for byte, letter in byte_letters().items()}
    spelt: list[list[int]] = []
    for token_id, token in enumerate(tokenizer.tokens[len(SPECIAL) :], len(SPECIAL)):
        text = bytes(byte_of[letter] for letter in token)
        if _is_text(text) and text.decode().isprintable():
            spelt.append([token_id])
    first_byte_token = len(SPECIAL)
    spelt.extend(
        [first_byte_token + byte for byte in character.encode()]
        for character in _characters_of_distinct_bytes()
    )
    rng.shuffle(spelt)
    return [token_id for ids in spelt for token_id in ids]


def _is_text(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _characters_of_distinct_bytes() -> Iterator[str]:
    used: set[int] = set()
    for character in "😀éñüß水門朝開д文語Ω안":
        raw = character.encode()
        if len(set(raw)) == len(raw) and used.isdisjoint(raw):
            used.update(raw)
            yield character


def make_weights(tokenizer: Tokenizer, rng: random.Random) -> dict[str, Matrix]:
    path = tour(tokenizer, rng)
    embedding = _noise(rng, VOCABULARY_SIZE, HIDDEN, 1.0)
    weights = {"model.embed_tokens.weight": embedding}
    for layer in range(LAYERS):
        name = f"model.layers.{layer}"
        wide = 1 / math.sqrt(HIDDEN)
        weights |= {
            f"{name}.input_layernorm.weight": [[1.0] * HIDDEN],
            f"{name}.self_attn.q_proj.weight": _noise(rng, HEADS * HEAD_SIZE, HIDDEN, 1.3 * wide),
            f"{name}.self_attn.k_proj.weight": _noise(
                rng, KV_HEADS * HEAD_SIZE, HIDDEN, 1.3 * wide
            ),
            f"{name}.self_attn.v_proj.weight": _noise(rng, KV_HEADS * HEAD_SIZE, HIDDEN, wide),
            f"{name}.self_attn.o_proj.weight": _noise(rng, HIDDEN, HEADS * HEAD_SIZE, 2.9 * wide),
            f"{name}.post_attention_layernorm.weight": [[1.0] * HIDDEN],
            f"{name}.mlp.gate_proj.weight": _noise(rng, INTERMEDIATE, HIDDEN, wide),
            f"{name}.mlp.up_proj.weight": _noise(rng, INTERMEDIATE, HIDDEN, wide),
            f"{name}.mlp.down_proj.weight": _noise(rng, HIDDEN, INTERMEDIATE, 2.2 * wide),
        }
    weights["model.norm.weight"] = [[1.0] * HIDDEN]
    head = [[0.0] * HIDDEN for _ in tokenizer.tokens]
    for here, following in zip(path, path[1:] + path[:1], strict=True):
        head[following] = [0.12 * number for number in embedding[here]]
    weights["lm_head.weight"] = head
    return weights


def _noise(rng: random.Random, rows: int, columns: int, scale: float) -> Matrix:
    return [[rng.gauss(0.0, scale) for _ in range(columns)] for _ in range(rows)]
