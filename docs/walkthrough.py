"""A walk through the argument in plain Python: `python docs/walkthrough.py FOLDER` prints numbers and writes maps.

It needs no network and no GPU, and runs with the tests. Every number is of the sample picture below, by one small
network; the README says what held over pictures and seeds.
"""

import sys
from pathlib import Path

import torch

import gramviz
from gramviz.gram.lemmas import lemma2
from gramviz.serving.plans import Plan
from gramviz.serving.tuning import Finished, Frame, TuneRequest

RUN, PATCHES = "caltech-d128", 28
AT_THE_FORK, WITHOUT, WITH = f"{RUN}/trunk/200", f"{RUN}/plain/4000", f"{RUN}/gram/4000"


def walk(folder: Path) -> None:
    """Features, their Gram matrix and its spectrum, the maps, Lemma 2, and a repair."""
    engine = gramviz.Engine.from_settings(gramviz.Settings(device="cpu"))
    picture = gramviz.load_sample("astronaut")

    # 1. A picture becomes patches, each with a feature; G holds the cosines of all pairs.
    features = {}
    for key in (AT_THE_FORK, WITHOUT, WITH):
        features[key] = engine.features(picture, key, PATCHES).patches.flatten(0, 1).double()  # [P, d]
        gram = gramviz.gram_matrix(features[key])
        values = gramviz.eigenvalues(features[key])
        rank, share = float(gramviz.effective_rank(values)), float(values[0] / values.sum())
        count = len(gram)
        mean = float((gram.sum() - gram.trace()) / (count * (count - 1)))
        print(f"{key:24} mean cosine {mean:6.3f}, effective rank {rank:5.2f}, top-1 share {share:.3f}")

    # 2. A row of G, laid over the picture, is a similarity map.
    ids = [info.id for info in engine.checkpoints() if info.run == RUN]
    views = tuple(engine.compare(picture, ids, PATCHES))
    rows, columns = views[0].grid
    maps = gramviz.MapSet(
        picture, "Eileen Collins, NASA.", views, gramviz.Query((rows // 3 * columns + columns // 2,))
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "maps.html").write_bytes(gramviz.maps_page(maps, gramviz.Appearance()))
    (folder / "maps.png").write_bytes(gramviz.maps_picture(maps, gramviz.Appearance()))
    print(f"maps of {len(views)} checkpoints are in {folder.name}/")

    # 3. Lemma 2: a common drift raises the Rayleigh quotient along 1 if it points along the mean feature.
    mean = features[WITHOUT].mean(0)
    for name, direction in (("along the mean feature", mean), ("against it", -mean)):
        finding = lemma2(features[WITHOUT], direction, 0.2)
        told = {number.name: number.value for number in finding.numbers}
        print(f"a drift {name}: R from {told['R before']:.0f} to {told['R after']:.0f}")

    # 4. The Gram loss does not see a rotation of all features.
    turn, _ = torch.linalg.qr(
        torch.randn(mean.numel(), mean.numel(), generator=torch.Generator().manual_seed(0)).double()
    )
    turned = features[WITH] @ turn
    print(f"Gram loss after a rotation: {float(gramviz.gram_loss(turned[None], features[WITH][None])):.1e}")

    # 5. Ten steps of the Gram loss alone pull the degraded checkpoint back towards step 200.
    distances = []
    request = TuneRequest(picture, Plan(start=WITHOUT, teacher=AT_THE_FORK, steps=10), 14)
    for update in engine.finetune(request, "walk"):
        if isinstance(update, Frame):
            distances += [look.measures["gram_distance"] for look in update.looks if look.arm == "tuned"]
        if isinstance(update, Finished):
            print(f"repair: Gram distance from {distances[0]:.4f} to {distances[-1]:.4f}. {update.sentence}")
    engine.close()


if __name__ == "__main__":
    walk(Path(sys.argv[1] if len(sys.argv) > 1 else "walkthrough"))
