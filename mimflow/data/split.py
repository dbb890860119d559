"""Which images are for training and which for validation."""

from __future__ import annotations

from collections import Counter

from mimflow.data.sources.base import SPLITS, Item, Listing
from mimflow.data.spec import DatasetSpec, SplitRule, StratifiedSplit
from mimflow.errors import DataError
from mimflow.seeds import derive


def check_classes(listing: Listing, spec: DatasetSpec) -> None:
    """DataError unless the source has as many classes as the spec says, and none that is a split."""
    if set(SPLITS) <= set(listing.classes):
        raise DataError("split.kind: stratified takes the folders train and val for classes (kind: folders)")
    found = len(listing.classes)
    if found != spec.num_classes:
        names = ", ".join(listing.classes[:5]) + (", …" if found > 5 else "")
        classes = "1 class" if found == 1 else f"{found} classes"
        raise DataError(
            f"num_classes: {spec.num_classes}, but the source has {classes}: {names} (correct the wrong one)"
        )


def assign(listing: Listing, split: SplitRule) -> dict[str, list[Item]]:
    """The images of `train` and of `val`, each in the order of the listing."""
    if not isinstance(split, StratifiedSplit):
        return {name: [item for item in listing.items if item.split == name] for name in SPLITS}
    val = _stratified(listing, split)
    return {
        "train": [item for item in listing.items if item.name not in val],
        "val": [item for item in listing.items if item.name in val],
    }


def _stratified(listing: Listing, split: StratifiedSplit) -> set[str]:
    """The names of the images for validation.

    A class' images are ordered by a digest of the seed and their names, which depends on no library's
    generator and moves few images between the splits when some are added.
    """
    by_class: dict[int, list[Item]] = {}
    for item in listing.items:
        by_class.setdefault(item.label, []).append(item)
    chosen: set[str] = set()
    for label, count in _shares(listing, split.val).items():
        name, items = listing.classes[label], by_class[label]
        if count == len(items):
            raise DataError(
                f"split.val: {split.val} takes all {count} images of class '{name}' and leaves none "
                "to train on (lower it)"
            )
        order = sorted(items, key=lambda item: derive(split.seed, "split", name, item.name))
        chosen.update(item.name for item in order[:count])
    return chosen


def _shares(listing: Listing, val: int) -> dict[int, int]:
    """How many images of each class are for validation, `val` in all.

    In proportion to the classes' sizes, rounded down; what is missing to `val` goes to the largest
    remainders, the first class first among equals.
    """
    counts = Counter(item.label for item in listing.items)
    total = counts.total()
    if val >= total:
        raise DataError(f"split.val: {val} of the source's {total} images leave none to train on (lower it)")
    shares = {label: val * counts[label] // total for label in sorted(counts)}
    remainders = sorted(shares, key=lambda label: (-(val * counts[label] % total), label))
    for label in remainders[: val - sum(shares.values())]:
        shares[label] += 1
    return shares
