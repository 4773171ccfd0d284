"""Made-up rows of measurements in the form of `metrics.jsonl`: smooth curves, a seed's own offset, some controls."""

import math
from collections.abc import Sequence
from typing import Any

FORK = 200
TRUNK_STEPS, ARM_STEPS = (0, 100, 200), (400, 600, 1000, 1500, 2000, 3000, 4000)
ARMS = ("plain", "gram", "gram_hires")
CONTROLS = {"gram_w5": ARM_STEPS, "gram_late": (3000, 4000), "gram_repair": (3000, 4000)}


def made_rows(
    run: str = "small", seeds: Sequence[int] = (0, 1, 2), scale: float = 1.0
) -> tuple[dict[str, Any], ...]:
    """Rows of a trunk, three arms and, for the first seed, three controls. `scale` stretches the steps."""
    steps = [("trunk", seed, step) for seed in seeds for step in TRUNK_STEPS]
    steps += [(arm, seed, step) for arm in ARMS for seed in seeds for step in ARM_STEPS]
    steps += [(arm, seeds[0], step) for arm, own in CONTROLS.items() for step in own]
    rows = [made_row(run, seed, arm, step, scale) for arm, seed, step in steps]
    baselines = [("baseline:proximity", 0.709, 0.611), ("baseline:colour", 0.723, 0.733)]
    known = [{"arm": arm, "pictures": 100, "auc": auc, "near_auc": near} for arm, auc, near in baselines]
    return (*rows, *known, {"arm": "baseline:chance", "pictures": 100, "knn": 0.0123, "scenes_miou": 0.1})


def made_row(run: str, seed: int, arm: str, step: int, scale: float = 1.0) -> dict[str, Any]:
    """One row. A plain run collapses after step 600, an anchored one stays."""
    held = {"plain": 0.0, "trunk": 0.0, "gram_late": 0.3, "gram_repair": 0.6, "gram_w5": 0.7}.get(arm, 0.93)
    late = (1 - held) * (1 - math.exp(-max(0, step - 600) / 1500))
    rise = 1 - math.exp(-step / 250)
    wave = 0.004 * math.sin(1.7 * seed + step / 700 + len(arm))
    cls = 0.03 + 0.6 * rise + 0.25 * late + wave
    row = {
        "run": run,
        "seed": seed,
        "arm": arm,
        "step": round(step * scale),
        "images_seen": 32 * step,
        "pictures": 100,
        "near_auc": 0.747 + 0.05 * rise - 0.13 * late + wave,
        "near_auc_error": 0.01,
        "auc": 0.73 + 0.06 * rise - 0.11 * late + wave,
        "scenes_auc": 0.75 + 0.05 * rise - 0.1 * late + wave,
        "scenes_near_auc": 0.74 + 0.05 * rise - 0.12 * late + wave,
        "scenes_miou": 0.41 + 0.1 * rise - 0.15 * late + 2 * wave,
        "knn": 0.22 + 0.03 * rise + 0.02 * step / 4000 + 2 * wave,
        "scenes_kind": 0.3 + 0.1 * rise + 2 * wave,
        "cls_alignment": cls,
        "mean_similarity": cls + 0.03,
        "top1_energy": 0.55 + 0.2 * rise + 0.15 * late + wave,
        "effective_rank": 6 - 2.5 * rise - 1.6 * late + 10 * wave,
        "top3_energy": 0.75 + 0.15 * rise + 0.05 * late + wave,
        "top10_energy": 0.9 + 0.05 * rise + 0.02 * late + wave,
        "stable_rank": 2.5 - rise - 0.3 * late + wave,
        "rayleigh": 60 + 120 * rise + 40 * late + 100 * wave,
        "patch_norm": 11.3 + wave,
        "token_norm": 10 + 80 * late + 10 * wave,
        "outlier_share": 0.01 + abs(wave),
        "token_outlier_share": 0.02 + abs(wave),
        "residual_top1": 0.3 + 0.1 * rise + 0.2 * late + wave,
        "residual_effective_rank": 20 - 6 * late + 50 * wave,
        "residual_common": 0.2 + 0.1 * late + wave,
        "heldout_ibot": 5.4 - 0.6 * rise - 0.2 * held * rise + 5 * wave,
        "heldout_dino": 5.5 - 0.05 * rise + wave,
        "heldout_gram": 0.02 + 0.08 * late + wave / 10,
        "locality": [round(0.35 + 0.4 * late + 0.6 * math.exp(-d / 4) * (1 - late), 4) for d in range(1, 16)],
    }
    for block in (3, 4, 5):
        row[f"global_top1_b{block}"] = 0.35 + 0.08 * (block - 3) + 0.1 * late + wave
        row[f"global_common_b{block}"] = 0.2 + 0.06 * (block - 3) + 0.1 * late + wave
    row["locality"].append(None)
    row["spectrum"] = [math.exp(-k * (0.4 + 0.3 * late)) * (1 + 5 * wave) for k in range(32)]
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()}
