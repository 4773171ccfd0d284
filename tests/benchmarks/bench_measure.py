"""A checkpoint's row of measures against what one would write in a notebook, as a ratio measured in one run.

    python -m tests.benchmarks.bench_measure [--pictures 32] [--threads 2] [--device cpu]

Both measure the same shipped checkpoint on the same synthetic scenes, divided by several "people", and both come to
the same numbers, which is checked:
  notebook   picture after picture: resize, labels patch by patch, one forward, the whole P x P Gram matrix in
             float64, its eigenvalues, for each person an argsort AUC over all pairs; k-NN by sorting all distances
  gramviz    `examine` on an exam that is prepared once for all checkpoints; the preparation is told beside it
They take turns; times are medians.
"""

import argparse
import statistics
import time

import numpy as np
import torch

from gramviz.checkpoints.manifest import CheckpointStore
from gramviz.data.scenes import scene
from gramviz.metrics.evaluate import NEAR, Annotated, Exam, Labelled, examine, patch_pictures
from gramviz.serving.settings import choose_device, shipped_models
from gramviz.vit.backbones import DenseBackbone
from gramviz.vit.features import extract
from gramviz.vit.images import picture_from_array

PATCHES, SIZE = 20, 160
PEOPLE = 5
REPEATS = 3


def material(count: int) -> tuple[list[Annotated], tuple[Labelled, Labelled]]:
    """Pictures with five maps each (the objects merged in different ways), and 200 small scenes with kinds."""
    annotated = []
    for seed in range(count):
        made = scene(seed, SIZE)
        maps = [made.labels % (person + 2) for person in range(PEOPLE)]
        annotated.append((picture_from_array(made.pixels), maps))
    small = [scene(10_000 + seed, 64) for seed in range(200)]
    images = torch.stack([torch.from_numpy(one.pixels) for one in small]).permute(0, 3, 1, 2)
    kinds = torch.tensor([one.kind for one in small])
    return annotated, ((images[:150], kinds[:150]), (images[150:], kinds[150:]))


def notebook_auc(scores: np.ndarray, same: np.ndarray) -> float:
    """Mann-Whitney by argsort, as if no two scores were equal."""
    ranks = np.empty(len(scores))
    ranks[np.argsort(scores)] = np.arange(1, len(scores) + 1)
    positives = same.sum()
    return float(
        (ranks[same].sum() - positives * (positives + 1) / 2) / (positives * (len(scores) - positives))
    )


def notebook_labels(segments: np.ndarray, rows: int, columns: int) -> np.ndarray:
    labels = []
    for row in range(rows):
        for column in range(columns):
            tall, wide = segments.shape[0] / rows, segments.shape[1] / columns
            patch = segments[
                int(row * tall) : int((row + 1) * tall), int(column * wide) : int((column + 1) * wide)
            ]
            kinds, counts = np.unique(patch, return_counts=True)
            labels.append(kinds[counts.argmax()])
    return np.array(labels)


def notebook_cls(backbone: DenseBackbone, images: torch.Tensor, device: torch.device) -> np.ndarray:
    with torch.no_grad():
        rows = [backbone(image[None].to(device).float() / 255)[0].cls[0].double().cpu() for image in images]
    cls = torch.stack(rows).numpy()
    return cls / np.linalg.norm(cls, axis=1, keepdims=True)


def notebook(
    backbone: DenseBackbone,
    annotated: list[Annotated],
    sets: tuple[Labelled, Labelled],
    device: torch.device,
) -> dict[str, float]:
    """auc, near_auc, mean_similarity, top1_energy, effective_rank, scenes_kind: means over the pictures."""
    found: dict[str, list[float]] = {}
    for picture, maps in annotated:
        features = extract(backbone, picture, PATCHES, device=device)
        rows, columns, width = features.patches.shape
        h = features.patches.reshape(-1, width).double().numpy()
        x = h / np.linalg.norm(h, axis=1, keepdims=True)
        gram = x @ x.T
        first, second = np.triu_indices(len(x), 1)
        scores = gram[first, second]
        far = np.hypot(first // columns - second // columns, first % columns - second % columns)
        near = (far >= NEAR[0]) & (far <= NEAR[1])
        aucs, near_aucs = [], []
        for segments in maps:
            labels = notebook_labels(segments, rows, columns)
            same = labels[first] == labels[second]
            aucs.append(notebook_auc(scores, same))
            near_aucs.append(notebook_auc(scores[near], same[near]))
        shares = np.linalg.eigvalsh(gram)[::-1].clip(1e-300) / len(x)
        for name, value in {
            "auc": np.mean(aucs),
            "near_auc": np.mean(near_aucs),
            "mean_similarity": scores.mean(),
            "top1_energy": shares[0],
            "effective_rank": np.exp(-(shares * np.log(shares)).sum()),
        }.items():
            found.setdefault(name, []).append(float(value))
    (train, train_kinds), (test, test_kinds) = sets
    known, asked = notebook_cls(backbone, train, device), notebook_cls(backbone, test, device)
    hits = 0
    for row, kind in zip(asked, test_kinds.tolist(), strict=True):
        votes = np.zeros(int(train_kinds.max()) + 1)
        for index in np.argsort(-(known @ row))[:20]:
            votes[int(train_kinds[index])] += np.exp(known[index] @ row / 0.07)
        hits += int(votes.argmax() == kind)
    return {
        **{name: float(np.mean(values)) for name, values in found.items()},
        "scenes_kind": hits / len(asked),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = choose_device(options.device)
    store = CheckpointStore.open(shipped_models())
    checkpoint = store.all()[-1]
    backbone = store.load(checkpoint.id, device)
    annotated, sets = material(options.pictures)
    started = time.perf_counter()
    exam = Exam(patch_pictures(annotated, PATCHES, backbone.patch_size), kinds=sets)
    prepared = time.perf_counter() - started

    seconds: dict[str, list[float]] = {"notebook": [], "gramviz": []}
    for _ in range(REPEATS):
        started = time.perf_counter()
        plain = notebook(backbone, annotated, sets, device)
        seconds["notebook"].append(time.perf_counter() - started)
        started = time.perf_counter()
        row = examine(backbone, exam, device=device)
        seconds["gramviz"].append(time.perf_counter() - started)
    for name, value in plain.items():
        assert np.isclose(float(row[name]), value, rtol=1e-3, atol=1e-4), (name, row[name], value)  # type: ignore[arg-type]
    slow, fast = (statistics.median(seconds[name]) for name in ("notebook", "gramviz"))
    print(
        f"{checkpoint.id}, {options.pictures} pictures of {PEOPLE} people, {device}, {options.threads} threads"
    )
    print(f"{len(plain)} measures agree; gramviz takes {len(row)} numbers in all")
    print("| notebook s | gramviz s | ratio | gramviz prepares once, s |")
    print("| --- | --- | --- | --- |")
    print(f"| {slow:.2f} | {fast:.2f} | {slow / fast:.1f}x | {prepared:.2f} |")


if __name__ == "__main__":
    main()
