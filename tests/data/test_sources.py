"""Training images from folders, torchvision and scenes."""

import hashlib

import numpy as np
import pytest
import torch
from PIL import Image

from gramviz.data.scenes import scene
from gramviz.data.segments import annotated_pictures
from gramviz.data.sources import (
    SceneSource,
    TensorSource,
    folder_source,
    held_out_data,
    split,
    torchvision_source,
)
from gramviz.errors import ConfigError, InputError


@pytest.fixture
def folder(tmp_path):
    for index, (name, size) in enumerate(
        [("cat/b.png", (40, 20)), ("cat/a.jpg", (16, 16)), ("dog/c.png", (20, 40))]
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        pixels = np.zeros((size[1], size[0], 3), np.uint8)
        pixels[..., index] = 200
        Image.fromarray(pixels).save(path)
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    return tmp_path


def test_a_folder_becomes_squares_in_the_order_of_its_paths(folder):
    seen = []
    source = folder_source(folder, 16, lambda done, total: seen.append((done, total)))
    assert source.images.shape == (3, 3, 16, 16)
    assert source.names == ("cat", "cat", "dog")
    assert seen[-1] == (3, 3)
    brightest = source.images.float().mean(dim=(2, 3)).argmax(1)
    assert brightest.tolist() == [1, 0, 2]  # a.jpg, b.png, c.png
    assert torch.equal(source.batch(torch.tensor([2, 0])), source.images[[2, 0]])
    assert source.subset(torch.tensor([2])).names == ("dog",)


def test_the_middle_square_is_kept(tmp_path):
    pixels = np.zeros((10, 30, 3), np.uint8)
    pixels[:, 10:20] = 255
    Image.fromarray(pixels.repeat(4, 0).repeat(4, 1)).save(tmp_path / "x.png")
    assert int(folder_source(tmp_path, 40).images.min()) > 200


def test_what_is_wrong_with_a_folder_is_said(tmp_path, folder):
    with pytest.raises(InputError, match="is not a folder"):
        folder_source(tmp_path / "none", 16)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no image"):
        folder_source(tmp_path / "empty", 16)
    (folder / "cat" / "d.png").write_bytes(b"broken")
    with pytest.raises(InputError, match=r"d\.png"):
        folder_source(folder, 16)


def test_images_of_another_shape_or_type_are_refused():
    with pytest.raises(InputError, match="uint8"):
        TensorSource(torch.zeros(2, 3, 4, 4), ("a", "b"))


def test_the_split_is_seeded_disjoint_and_complete():
    kept, held_out = split(50, 20, seed=1)
    assert (len(kept), len(held_out)) == (30, 20)
    assert sorted(kept.tolist() + held_out.tolist()) == list(range(50))
    assert torch.equal(split(50, 20, seed=1)[1], held_out)
    assert not torch.equal(split(50, 20, seed=2)[1], held_out)
    with pytest.raises(ConfigError, match="at most 49"):
        split(50, 50)


def test_what_is_held_out_can_be_told_from_other_images(folder):
    source = folder_source(folder, 16)
    assert source.files == ("cat/a.jpg", "cat/b.png", "dog/c.png")
    (tested,) = split(3, 1)[1].tolist()
    told = held_out_data(source, 1)
    assert told == {
        "images": 3,
        "held_out": 1,
        "image_size": 16,
        "held_out_sha256": hashlib.sha256(source.files[tested].encode()).hexdigest(),
    }
    assert held_out_data(folder_source(folder, 8), 1) == {**told, "image_size": 8}
    with_order = source.subset(torch.tensor([1, 2, 0]))
    assert with_order.files == ("cat/b.png", "dog/c.png", "cat/a.jpg")
    assert held_out_data(with_order.to(torch.device("cpu")), 1)["held_out_sha256"] != told["held_out_sha256"]
    unknown = TensorSource(source.images, source.names)
    assert held_out_data(unknown.subset(torch.tensor([0, 1])), 1) == {
        "images": 2,
        "held_out": 1,
        "image_size": 16,
    }


def test_a_torchvision_dataset_that_is_unknown_or_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match="no image dataset named 'Nothing'"):
        torchvision_source("Nothing", tmp_path, 8)
    with pytest.raises(InputError, match="pass --download"):
        torchvision_source("CIFAR10", tmp_path, 8)


def test_a_torchvision_dataset_that_is_there_is_read(tmp_path):
    for name, level in (
        ("accordion", 50),
        ("zebra", 200),
        ("BACKGROUND_Google", 0),
    ):  # torchvision drops the last
        target = tmp_path / "caltech101" / "101_ObjectCategories" / name
        target.mkdir(parents=True)
        Image.fromarray(np.full((20, 30, 3), level, np.uint8)).save(target / "image_0001.jpg")
    (tmp_path / "caltech101" / "Annotations").mkdir()
    source = torchvision_source("Caltech101", tmp_path, 8)
    assert source.images.float().mean(dim=(1, 2, 3)).round().tolist() == [50, 200]
    assert len(set(source.names)) == 2


def test_scenes_are_drawn_by_their_seed():
    source = SceneSource(100, 32, first_seed=7)
    batch = source.batch(torch.tensor([3, 0]))
    assert len(source) == 100
    assert batch.shape == (2, 3, 32, 32)
    assert np.array_equal(batch[0].permute(1, 2, 0).numpy(), scene(10, 32).pixels)


def test_annotated_pictures_pair_photographs_with_every_persons_map(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "segments").mkdir()
    photograph = Image.fromarray(np.full((20, 30, 3), 9, np.uint8))
    photograph.save(tmp_path / "images" / "7.jpg")
    for person, label in ((0, 3), (1, 5)):
        Image.fromarray(np.full((20, 30), label, np.uint8)).save(tmp_path / "segments" / f"7_{person}.png")
    ((picture, people),) = annotated_pictures(tmp_path)
    assert picture.size == (30, 20)
    assert [int(one.max()) for one in people] == [3, 5]
    photograph.save(tmp_path / "images" / "12.jpg")
    with pytest.raises(InputError, match=r"12\.jpg has no"):
        list(annotated_pictures(tmp_path))
    with pytest.raises(InputError, match="holds no images"):
        list(annotated_pictures(tmp_path / "segments"))
