"""Find the sets of weights in a checkpoint, whatever prefixes and containers they are in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable

# What wraps a network and puts its name into the names of the weights, at any depth.
_WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
# Where training scripts put the weights that they train, in this order of preference.
_MAIN = ("state_dict", "model_state_dict", "model")
# In the name of weights that are a mean, or a helper, of those that train.
_SECONDARY = ("ema", "swa", "avg", "average", "averaged", "shadow", "teacher", "momentum", "target",
              "encoder_k", "k_encoder")  # fmt: skip
# torch loads the names of its older weight norm into its newer one.
_OLD_NAMES = {
    "parametrizations.weight.original0": "weight_g",
    "parametrizations.weight.original1": "weight_v",
}


def plain_names(*groups: Collection[str]) -> list[dict[str, str]]:
    """The names of each group without wrappers; as they are if two would be the same.

    Returns
    -------
    list of dict
        For each group, from a name without wrappers to the name itself.
    """
    plain = [{_without_wrappers(name): name for name in names} for names in groups]
    if any(len(found) < len(set(names)) for found, names in zip(plain, groups, strict=True)):
        return [{name: name for name in names} for names in groups]
    return plain


def set_prefixes(names: Iterable[str], wanted: Collection[str]) -> list[str]:
    """What stands before a network's names, the prefix of the most of them first.

    Only prefixes of at least half as many names as the first one has count.
    """
    known = {*wanted}
    for name in wanted:
        for new, old in _OLD_NAMES.items():
            if name.endswith(new):
                known.add(name.removesuffix(new) + old)
    votes: Counter[str] = Counter()
    for name in names:
        rest = name
        while rest:
            if rest in known:
                votes[name[: len(name) - len(rest)]] += 1
            rest = rest.partition(".")[2]
    ordered = votes.most_common()
    return [prefix for prefix, count in ordered if 2 * count >= ordered[0][1]]


def main_prefix(names: Collection[str]) -> str:
    """The usual container that these names are in, if there is one."""
    for word in _MAIN:
        if any(name.startswith(f"{word}.") for name in names):
            return f"{word}."
    return ""


def set_name(prefix: str) -> str:
    """How a set of weights is called."""
    return prefix.rstrip(".") or "the file itself"


def by_preference(prefixes: Iterable[str]) -> list[str]:
    """The one to use first: weights that train before their means."""

    def rank(prefix: str) -> tuple[bool, int]:
        words = f"_{prefix.lower().replace('.', '_')}"
        secondary = any(f"_{word}_" in words for word in _SECONDARY)
        first = prefix.partition(".")[0]
        return secondary, _MAIN.index(first) if first in _MAIN else len(_MAIN)

    return sorted(prefixes, key=rank)


def is_meant(prefix: str, key: str) -> bool:
    """Whether `key` is the name of a set of weights, or some of its parts in a row."""
    wanted = _without_wrappers(key.strip(".")).strip(".")
    return set_name(prefix) == key or (bool(wanted) and f".{wanted}." in f".{prefix}")


def beside(names: Iterable[str], prefix: str, used: Collection[str]) -> list[str]:
    """What is not in a set of weights, each by the outermost container of which nothing is."""
    taken = {f"{prefix}{name}" for name in used}
    inner = {name[:cut] for name in taken for cut in _cuts(name)}
    outermost: dict[str, None] = {}
    for name in names:
        if name not in taken:
            cut = next((cut for cut in _cuts(name) if name[:cut] not in inner), len(name))
            outermost[name[:cut]] = None
    return list(outermost)


def is_part_of(name: str, body: Iterable[str], every: Iterable[str]) -> bool:
    """Whether a tensor that a network lacks belongs to a larger network of the same kind.

    It does if it is in one of the network's modules, or continues a numbered list of them.
    `every` are the network's names, and `body` those outside its classifier.
    """
    root = _common_root(every)
    if not name.startswith(root):
        return False
    first = name.removeprefix(root).partition(".")[0]
    firsts = {known.removeprefix(root).partition(".")[0] for known in body}
    return first in firsts or (first.isdigit() and any(known.isdigit() for known in firsts))


def _common_root(names: Iterable[str]) -> str:
    """The modules around all names."""
    parents = [name.split(".")[:-1] for name in names]
    shared = []
    for parts in zip(*parents, strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return "".join(f"{part}." for part in shared)


def _cuts(name: str) -> list[int]:
    """Where the parts of a name end."""
    return [place for place, letter in enumerate(name) if letter == "."] + [len(name)]


def _without_wrappers(name: str) -> str:
    *around, last = name.split(".")
    return ".".join([*(part for part in around if part not in _WRAPPERS), last])
