"""The engine on a store of tiny random networks: right numbers, computed once, nothing shared by mistake."""

import json
import threading

import numpy as np
import pytest
import torch

from gramviz.errors import BusyError, CheckpointError, GramvizError, InputError
from gramviz.serving import forwards, views
from gramviz.serving.engine import Engine
from gramviz.serving.settings import Settings
from gramviz.vit.images import picture_from_array
from tests.stores import make_store, make_wild

IDS = ("tiny-trunk-0", "tiny-trunk-300", "tiny-plain-2000", "tiny-gram-2000")


def picture(seed=0, shape=(60, 80)):
    return picture_from_array(np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8))


@pytest.fixture
def engine(tmp_path):
    made = Engine(make_store(tmp_path), Settings(device="cpu", models=tmp_path))
    yield made
    made.close()


@pytest.fixture
def extracted(monkeypatch):
    """Every picture that goes through a network."""
    calls = []
    real = forwards.extract_all

    def counted(network, pictures, *args, **options):
        calls.extend(pictures)
        return real(network, pictures, *args, **options)

    monkeypatch.setattr(forwards, "extract_all", counted)
    return calls


def unit(rows):
    rows = rows.astype(np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_every_number_of_a_view_equals_numpy_in_float64(engine):
    pic = picture()
    views = list(engine.compare(pic, IDS, 10))
    assert sorted(v.checkpoint.id for v in views) == sorted(IDS)
    for view in views:
        features = engine.features(pic, view.checkpoint.id, 10)
        assert view.grid == features.patches.shape[:2] == (8, 10)
        x = unit(features.patches.flatten(0, 1).numpy())
        c = unit(features.cls.numpy()[None])
        factor = np.frombuffer(view.factor, "<f2").reshape(81, view.rank).astype(np.float64)
        both = np.concatenate([x, c])
        assert np.abs(factor @ factor.T - both @ both.T).max() <= view.error < 4e-3
        gram = x @ x.T
        energies = np.linalg.eigvalsh(gram)[::-1].clip(0)
        shares = energies[energies > 0] / energies.sum()
        expected = {
            "cls_alignment": (x @ c[0]).mean(),
            "mean_similarity": (gram.sum() - np.trace(gram)) / (80 * 79),
            "effective_rank": np.exp(-(shares * np.log(shares)).sum()),
            "top1_energy": shares[0],
        }
        assert view.measures == pytest.approx(expected, rel=1e-4, abs=1e-5)
        colours = np.frombuffer(view.colours, np.uint8).reshape(80, 3)
        assert colours.std(0).min() > 20


def test_the_stated_error_is_what_the_rank_leaves_out_plus_what_float16_rounds_away(engine, monkeypatch):
    monkeypatch.setattr(views, "FACTOR_TOLERANCE", 0.05)  # these small networks need their full rank else
    (view,) = engine.compare(picture(), IDS[2:3], 10)
    features = engine.features(picture(), IDS[2], 10)
    both = np.concatenate([unit(features.patches.flatten(0, 1).numpy()), unit(features.cls.numpy()[None])])
    best = np.linalg.eigh(both @ both.T)
    kept = best.eigenvectors[:, -view.rank :] * np.sqrt(best.eigenvalues[-view.rank :])
    left_out = 1 - (kept**2).sum(1).min()
    half = kept.astype(np.float16).astype(np.float64)
    longest = np.linalg.norm(kept, axis=1).max() + np.linalg.norm(half, axis=1).max()
    rounded = np.linalg.norm(kept - half, axis=1).max() * longest
    assert view.rank < 32
    assert 0.005 < left_out <= 0.05
    assert view.error == pytest.approx(left_out + rounded, rel=1e-2)


def test_similarity_and_spectrum_equal_numpy(engine):
    pic = picture()
    found = engine.similarity(pic, IDS[2], 10, 3, 4)
    x = unit(engine.features(pic, IDS[2], 10).patches.flatten(0, 1).numpy())
    assert np.allclose(np.array(found["map"]).ravel(), x @ x[34], atol=1e-5)
    assert found["grid"] == [8, 10]
    spectrum = engine.spectrum(pic, IDS[2], 10)
    assert np.allclose(spectrum["eigenvalues"], np.linalg.eigvalsh(x @ x.T)[::-1][:32], atol=1e-4)
    assert spectrum["measures"]["rayleigh_along_ones"] == pytest.approx((x @ x.T).sum() / 80, rel=1e-4)


def test_features_are_computed_once_and_come_from_the_cache_after(engine, extracted):
    assert not any(v.cached for v in engine.compare(picture(), IDS, 6))
    assert all(v.cached for v in engine.compare(picture(), IDS, 6))
    engine.similarity(picture(), IDS[0], 6, 0, 0)
    assert len(extracted) == 4
    list(engine.compare(picture(), IDS[:1], 7))
    list(engine.compare(picture(), IDS[:1], 6, layer=0))
    list(engine.compare(picture(1), IDS[:1], 6))
    assert len(extracted) == 7


def test_identical_requests_in_flight_share_one_computation(engine, extracted, monkeypatch):
    gate, counted = threading.Event(), forwards.extract_all

    def slow(*args, **options):
        gate.wait(20)
        return counted(*args, **options)

    monkeypatch.setattr(forwards, "extract_all", slow)
    results = []
    crowd = [
        threading.Thread(target=lambda: results.append(list(engine.compare(picture(), IDS[:2], 6))))
        for _ in range(12)
    ]
    for one in crowd:
        one.start()
    gate.set()
    for one in crowd:
        one.join(20)
    assert len(results) == 12
    assert len(extracted) == 2
    assert len({view.factor for views in results for view in views}) == 2


def test_closing_a_comparison_drops_what_has_not_begun(engine, extracted, monkeypatch):
    begun, gate, counted = threading.Event(), threading.Event(), forwards.extract_all

    def slow(*args, **options):
        begun.set()
        gate.wait(20)
        return counted(*args, **options)

    list(engine.compare(picture(), IDS[:1], 6))  # cached: the first to be yielded
    monkeypatch.setattr(forwards, "extract_all", slow)
    views = engine.compare(picture(), IDS, 6)
    assert next(views).cached
    assert begun.wait(20)
    views.close()
    gate.set()
    engine.features(picture(9), IDS[0], 6)  # waits its turn behind whatever is left
    assert len(extracted) == 1 + 1 + 1


def test_too_many_waiting_requests_are_refused_not_queued(tmp_path, monkeypatch):
    made = Engine(make_store(tmp_path), Settings(device="cpu", models=tmp_path, pending=2))
    gate, real = threading.Event(), forwards.extract_all

    def slow(*args, **options):
        gate.wait(20)
        return real(*args, **options)

    monkeypatch.setattr(forwards, "extract_all", slow)
    with pytest.raises(BusyError, match="waiting already"):
        list(made.compare(picture(), IDS, 6))
    gate.set()
    assert len(list(made.compare(picture(), IDS[:2], 6))) == 2
    made.close()


def test_caches_stay_within_their_bytes(tmp_path):
    made = Engine(
        make_store(tmp_path), Settings(device="cpu", models=tmp_path, feature_cache=1, model_cache=1)
    )
    for seed in range(30):
        list(made.compare(picture(seed), IDS[:2], 16))
    assert 0 < made._results.used <= 2**20
    assert 0 < made._compute.workshop._networks.used <= 2**20
    made.close()


def test_common_colours_are_one_basis_for_all(engine):
    colours = engine.common_colours(picture(), IDS, 6)
    assert set(colours) == set(IDS)
    assert all(len(value) == 4 * 6 * 3 or len(value) == 5 * 6 * 3 for value in colours.values())
    alone = {v.checkpoint.id: v.colours for v in engine.compare(picture(), IDS, 6)}
    assert colours != alone
    assert engine.common_colours(picture(), IDS[:1], 6) == {IDS[0]: alone[IDS[0]]}


@pytest.mark.parametrize("patches", [0, 3, 65, -1, 10**9, float("nan"), float("inf"), "20", None, True])
def test_a_number_of_patches_out_of_range_is_named(engine, patches):
    with pytest.raises(InputError, match="choose 4 to 64"):
        list(engine.compare(picture(), IDS, patches))


@pytest.mark.parametrize(
    "ask",
    [
        lambda e: list(e.compare(picture(), [], 6)),
        lambda e: list(e.compare(picture(), ["tiny-gram-2000", "nothing"], 6)),
        lambda e: list(e.compare(picture(), IDS, 6, layer=7)),
        lambda e: e.similarity(picture(), IDS[0], 6, 99, 0),
        lambda e: e.similarity(picture(), IDS[0], 6, 0.5, 0),
        lambda e: e.similarity(picture(), IDS[0], 6, float("nan"), 0),
        lambda e: e.similarity(picture(), IDS[0], 6, "0", 0),
        lambda e: e.spectrum(picture(), "../../etc/passwd", 6),
    ],
)
def test_wrong_requests_get_a_sentence_and_the_engine_goes_on(engine, ask):
    with pytest.raises(GramvizError):
        ask(engine)
    assert len(list(engine.compare(picture(), IDS, 6))) == 4


def test_a_damaged_checkpoint_fails_alone(tmp_path):
    made = Engine(make_store(tmp_path), Settings(device="cpu", models=tmp_path))
    (tmp_path / "tiny/gram_step_002000.safetensors").write_bytes(b"no")
    with pytest.raises(CheckpointError, match="tiny-gram-2000"):
        list(made.compare(picture(), IDS, 6))
    assert len(list(made.compare(picture(), IDS[:3], 6))) == 3
    made.close()


def test_a_trajectory_is_the_rows_of_the_run(engine, tmp_path):
    assert engine.trajectory("tiny") == ()
    row = {"run": "tiny", "seed": 0, "arm": "plain", "step": 2000, "auc": 0.5}
    (tmp_path / "tiny" / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    assert engine.trajectory("tiny") == (row,)
    assert engine.trajectory("tiny") is engine.trajectory("tiny")
    with (tmp_path / "tiny" / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({**row, "seed": 1}) + "\n")
    assert len(engine.trajectory("tiny")) == 2
    with pytest.raises(CheckpointError, match=r"no run '\.\./tiny'. Known are: tiny"):
        engine.trajectory("../tiny")


def test_spectra_are_those_of_the_features_and_come_from_the_cache_after(engine, extracted):
    pic = picture()
    first = list(engine.spectra(pic, IDS, 10))
    assert sorted(view.checkpoint.id for view in first) == sorted(IDS)
    assert not any(view.cached or view.problem for view in first)
    for view in first:
        x = unit(engine.features(pic, view.checkpoint.id, 10).patches.flatten(0, 1).numpy())
        energies = np.linalg.eigvalsh(x @ x.T)[::-1]
        np.testing.assert_allclose(view.spectra.eigenvalues.numpy(), energies[:32].clip(0), atol=1e-11)
        assert view.spectra.measures["top1_energy"] == pytest.approx(energies[0] / 80)
        assert (view.spectra.grid, view.spectra.width) == ((8, 10), 32)
    again = list(engine.spectra(pic, IDS, 10))
    assert [view.checkpoint.id for view in again] == list(IDS)
    assert all(view.cached and view.seconds == 0 for view in again)
    kept = {view.checkpoint.id: view.spectra for view in first}
    assert all(view.spectra is kept[view.checkpoint.id] for view in again)
    assert len(extracted) == 4


def test_spectra_share_their_features_with_everything_else(engine, extracted):
    list(engine.compare(picture(), IDS, 6))
    assert not any(view.cached for view in engine.spectra(picture(), IDS, 6))
    assert len(extracted) == 4
    list(engine.spectra(picture(), IDS[:1], 6, layer=0))
    list(engine.spectra(picture(), IDS[:1], 7))
    list(engine.spectra(picture(1), IDS[:1], 6))
    assert len(extracted) == 7


def test_spectra_count_in_the_cache(tmp_path):
    made = Engine(make_store(tmp_path), Settings(device="cpu", models=tmp_path, feature_cache=1))
    for seed in range(12):
        list(made.spectra(picture(seed), IDS[:2], 20))
        assert 0 < made._results.used <= 2**20
    made.close()


def test_a_checkpoint_without_finite_features_has_a_problem_and_leaves_the_others_alone(tmp_path):
    make_store(tmp_path)
    made = Engine(make_wild(tmp_path, IDS[2]), Settings(device="cpu", models=tmp_path))
    views = {view.checkpoint.id: view for view in made.spectra(picture(), IDS, 6)}
    assert set(views) == set(IDS)
    assert views[IDS[2]].spectra is None
    assert "of these features are not finite (NaN or infinite)" in views[IDS[2]].problem
    for name in (IDS[0], IDS[1], IDS[3]):
        assert views[name].problem is None
        assert views[name].spectra.measures["effective_rank"] > 1
    assert all(view.cached for view in made.spectra(picture(), IDS, 6))
    made.close()


def test_closing_spectra_drops_what_has_not_begun(engine, extracted, monkeypatch):
    begun, gate, counted = threading.Event(), threading.Event(), forwards.extract_all

    def slow(*args, **options):
        begun.set()
        gate.wait(20)
        return counted(*args, **options)

    list(engine.spectra(picture(), IDS[:1], 6))
    monkeypatch.setattr(forwards, "extract_all", slow)
    views = engine.spectra(picture(), IDS, 6)
    assert next(views).cached
    assert begun.wait(20)
    views.close()
    gate.set()
    engine.features(picture(9), IDS[0], 6)
    assert len(extracted) == 1 + 1 + 1


@pytest.mark.parametrize(
    ("ids", "patches", "layer"), [([], 6, -1), (["nothing"], 6, -1), (IDS, 3, -1), (IDS, 6, 2)]
)
def test_spectra_of_what_is_not_there_are_refused(engine, ids, patches, layer):
    with pytest.raises(GramvizError):
        list(engine.spectra(picture(), ids, patches, layer=layer))
    assert len(list(engine.spectra(picture(), IDS, 6))) == 4


def test_a_number_too_long_to_be_written_is_refused_in_a_sentence(engine):
    with pytest.raises(InputError, match="a number of thousands of digits patches on the long side"):
        engine.features(picture(), IDS[0], 10**5000)
    with pytest.raises(InputError, match="no patch at row a number of thousands of digits, column 0"):
        engine.similarity(picture(), IDS[0], 8, 10**5000, 0)


def test_the_bytes_of_cached_features_are_all_counted(engine):
    found = engine.features(picture(), IDS[0], 10)
    tensors = [value for value in vars(found).values() if isinstance(value, torch.Tensor)]
    assert len(tensors) == 5
    assert engine._results.used == sum(each.numel() * each.element_size() for each in tensors)
