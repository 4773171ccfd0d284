"""An exam from pictures to a row, against features taken one picture at a time and numpy."""

import dataclasses

import numpy as np
import pytest
import torch

from gramviz.errors import InputError
from gramviz.metrics.evaluate import (
    Encoded,
    Exam,
    baseline_scores,
    encode,
    examine,
    examine_baseline,
    examine_chance,
    geometry_measures,
    knn_measure,
    patch_pictures,
    segment_measures,
    segmentation_iou,
    summary,
)
from gramviz.vit.backbones import NetworkConfig, create_backbone
from gramviz.vit.features import extract
from gramviz.vit.images import picture_from_array
from tests.stores import TINY

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def backbone():
    torch.manual_seed(0)
    return create_backbone(TINY).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def annotated():
    """Three pictures of two shapes; of the second, one of its people saw a single segment."""
    rng = np.random.default_rng(0)
    made = []
    for height, width in ((48, 64), (64, 48), (48, 64)):
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        halves = (np.arange(width)[None] >= width // 2).astype(np.uint8).repeat(height, axis=0)
        made.append((picture_from_array(pixels), [halves, rng.integers(0, 2, (height, width))]))
    made[1][1][1] = np.zeros((64, 48), np.uint8)
    return made


@pytest.fixture(scope="module")
def pictures(annotated):
    return patch_pictures(annotated, 4, TINY.options["patch_size"])


def auc_by_hand(scores, picture, labels, reach):
    rows, columns = picture.grid
    wins = []
    pairs = [(i, j) for i in range(rows * columns) for j in range(i + 1, rows * columns)]
    far = {(i, j): np.hypot(i // columns - j // columns, i % columns - j % columns) for i, j in pairs}
    pairs = [pair for pair in pairs if reach[0] <= far[pair] <= reach[1]]
    same = [scores[i, j] for i, j in pairs if labels[i] == labels[j]]
    other = [scores[i, j] for i, j in pairs if labels[i] != labels[j]]
    wins = [(a > b) + 0.5 * (a == b) for a in same for b in other]
    return np.mean(wins) if wins else np.nan


def test_features_are_those_of_one_picture_at_a_time_in_order(backbone, annotated, pictures):
    found = encode(backbone, pictures, CPU)
    for (picture, _), encoded, prepared in zip(annotated, found, pictures, strict=True):
        alone = extract(backbone, picture, 4)
        assert alone.patches.shape[:2] == prepared.grid
        torch.testing.assert_close(encoded.patches, alone.patches.flatten(0, 1), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(encoded.cls, alone.cls, atol=1e-5, rtol=1e-4)
        raw = extract(backbone, picture, 4, norm=False).patches.flatten(0, 1).norm(dim=-1)
        torch.testing.assert_close(encoded.lengths, raw, atol=1e-5, rtol=1e-4)
    assert not any(module._forward_pre_hooks for module in backbone.modules())


def test_segments_are_told_as_a_double_loop_says(annotated, pictures):
    rng = np.random.default_rng(1)
    scores = [rng.integers(0, 5, (12, 12)).astype(np.float32) for _ in pictures]
    scores = [torch.tensor(one + one.T) for one in scores]
    found = segment_measures(scores, pictures)
    for index, (_, maps) in enumerate(annotated):
        picture = pictures[index]
        for name, reach in (("auc", (0, 99)), ("near_auc", (2, 4))):
            values = []
            for one in maps:
                rows, columns = picture.grid
                tall, wide = one.shape[0] // rows, one.shape[1] // columns
                blocks = [
                    np.bincount(one[y * tall : (y + 1) * tall, x * wide : (x + 1) * wide].ravel()).argmax()
                    for y in range(rows)
                    for x in range(columns)
                ]
                values.append(auc_by_hand(scores[index].numpy(), picture, blocks, reach))
            assert float(found[name][index]) == pytest.approx(np.nanmean(values))


def test_a_picture_that_nobody_divided_has_no_auc(annotated):
    picture, _ = annotated[0]
    whole = patch_pictures([(picture, [np.zeros((48, 64), np.uint8)])], 4, 8)
    found = segment_measures([torch.rand(12, 12)], whole)
    assert found["auc"].isnan().all()
    assert "auc" not in summary(found)


def test_lengths_and_locality_of_each_picture(pictures):
    rng = np.random.default_rng(2)
    made = [
        Encoded(*(torch.tensor(rng.normal(size=shape)).float() for shape in ((12, 5), (5,), (12,))))
        for _ in pictures
    ]
    found = geometry_measures(made, pictures)
    for index, encoded in enumerate(made):
        h = encoded.patches.double().numpy()
        lengths = np.linalg.norm(h, axis=1)
        assert float(found["patch_norm"][index]) == pytest.approx(lengths.mean(), rel=1e-6)
        mad = np.median(np.abs(lengths - np.median(lengths)))
        outliers = (0.6745 * (lengths - np.median(lengths)) / mad > 3.5).mean()
        assert float(found["outlier_share"][index]) == pytest.approx(outliers)
        assert float(found["token_norm"][index]) == pytest.approx(float(encoded.lengths.mean()), rel=1e-6)
        x = h / lengths[:, None]
        columns = pictures[index].grid[1]
        beside = [
            x[i] @ x[j]
            for i in range(12)
            for j in range(i + 1, 12)
            if round(np.hypot(i // columns - j // columns, i % columns - j % columns)) == 1
        ]
        assert float(found["locality"][index, 0]) == pytest.approx(np.mean(beside), abs=1e-6)
        assert found["locality"][index, 4:].isnan().all()
    assert found["spectrum"].shape == (3, 32)


def test_baselines_by_hand(pictures):
    near, colour = (baseline_scores(name, pictures[0]).numpy() for name in ("proximity", "colour"))
    blocks = pictures[0].image.double().numpy().reshape(3, 3, 8, 4, 8).mean((2, 4)).reshape(3, 12)
    for i in range(12):
        for j in range(12):
            assert near[i, j] == pytest.approx(-np.hypot(i // 4 - j // 4, i % 4 - j % 4))
            assert colour[i, j] == pytest.approx(-np.linalg.norm(blocks[:, i] - blocks[:, j]), abs=1e-6)
    with pytest.raises(InputError, match="'darkness'"):
        baseline_scores("darkness", pictures[0])


def test_patches_are_labelled_by_the_bank_alone():
    # Five patches a picture, each class along an axis of its own; the last picture's labels are all wrong.
    axes = torch.eye(3)
    kinds = torch.tensor([[0, 0, 1, 1, 2]] * 6)
    made = [Encoded(axes[one] + 0.01 * torch.rand(5, 3), torch.ones(3), torch.ones(5)) for one in kinds]
    assert segmentation_iou(made, kinds, 5) == 1
    wrong = torch.cat([kinds[:5], torch.tensor([[1, 1, 2, 2, 0]])])
    assert segmentation_iou(made, wrong, 5) == 0
    for bank in (0, 6):
        with pytest.raises(InputError, match=f"bank of {bank} of 6"):
            segmentation_iou(made, kinds, bank)


def test_the_row_of_an_exam(backbone, pictures):
    rng = np.random.default_rng(3)
    images = torch.tensor(rng.integers(0, 256, (60, 3, 16, 16)), dtype=torch.uint8)
    labels = torch.tensor(rng.integers(0, 3, 60))
    sets = ((images[:40], labels[:40]), (images[40:], labels[40:]))
    textures = torch.tensor(rng.integers(0, 2, (3, 12)))
    exam = Exam(pictures, pictures, textures, 2, classes=sets, kinds=sets)
    row = examine(backbone, exam, device=CPU)
    features = encode(backbone, pictures, CPU)
    x = [(one.patches / one.patches.norm(dim=1, keepdim=True)).numpy() for one in features]
    similarity = [(one @ one.T)[~np.eye(12, dtype=bool)].mean() for one in x]
    assert row["mean_similarity"] == pytest.approx(np.mean(similarity), rel=1e-4)
    error = np.std(similarity, ddof=1) / 3**0.5
    assert row["mean_similarity_error"] == pytest.approx(error, rel=1e-3)
    assert row["scenes_auc"] == row["auc"]
    assert row["scenes_near_auc_error"] == row["near_auc_error"]
    assert 0 <= row["scenes_miou"] <= 1
    assert row["knn"] == row["scenes_kind"] == pytest.approx(knn_measure(backbone, *sets, device=CPU))
    assert row["knn_error"] == pytest.approx((row["knn"] * (1 - row["knn"]) / 20) ** 0.5, rel=1e-5)
    assert row["locality"][4:] == [None] * 12
    assert len(row["locality"]) == 16
    assert sum(row["spectrum"]) == pytest.approx(1, abs=1e-4)
    assert all(f"{name}_error" in row for name in ("auc", "top1_energy", "patch_norm", "token_outlier_share"))
    assert examine(backbone, exam, device=CPU) == row
    coarse = examine(backbone, exam, device=CPU, autocast=torch.bfloat16)
    assert coarse["auc"] == row["auc"]  # autocast concerns k-NN alone


def test_what_is_not_there_is_not_measured(backbone, pictures):
    row = examine(backbone, Exam(pictures[:1]), device=CPU)
    assert not any(name.startswith(("scenes", "knn")) or name.endswith("_error") for name in row)
    assert "near_auc" in row
    assert examine_chance(Exam(pictures)) == {}
    with pytest.raises(InputError, match="no picture"):
        examine(backbone, Exam([]), device=CPU)


def test_chance_and_baseline_rows(pictures):
    labels = torch.tensor([0, 0, 0, 1])
    blank = torch.zeros(4, 3, 8, 8, dtype=torch.uint8)
    sets = ((blank, labels), (blank, torch.tensor([0, 1, 1, 1])))
    textures = torch.arange(12).remainder(4).repeat(3, 1)
    exam = Exam(pictures, pictures, textures, 2, classes=sets)
    assert examine_chance(exam) == {"scenes_miou": pytest.approx(1 / 7, rel=1e-5), "knn": 0.375}
    row = examine_baseline("proximity", exam)
    assert row["scenes_auc"] == row["auc"]
    assert set(row) == {
        f"{a}{b}{c}" for a in ("", "scenes_") for b in ("auc", "near_auc") for c in ("", "_error")
    }


def test_networks_without_cls_or_final_norm_are_measured_too(pictures):
    for config in (
        NetworkConfig(
            "vit_base_patch16_siglip_224", {"patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
        ),
        dataclasses.replace(TINY, options={**TINY.options, "depth": 1}),
    ):
        torch.manual_seed(1)
        row = examine(create_backbone(config), Exam(pictures), device=CPU)
        assert -1 <= row["cls_alignment"] <= 1
        assert row["token_norm"] > 0


def test_a_summary_leaves_out_what_is_not_known():
    nan = float("nan")
    measured = {
        "a": torch.tensor([1.0, 3.0, nan]),
        "b": torch.tensor([nan, nan, nan]),
        "c": torch.tensor([nan, 2.0, nan]),
        "d": torch.tensor([[1.0, nan], [3.0, nan], [nan, nan]]),
    }
    assert summary(measured) == {"a": 2.0, "a_error": 1.0, "c": 2.0, "d": [2.0, None]}
