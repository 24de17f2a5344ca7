"""A set that is no person, from made-up pictures of cards through training to a file that finds them."""

import json

import cv2
import numpy as np
import pytest

from ehrnet_tf import cli, keypoints
from ehrnet_tf.config import load_config
from ehrnet_tf.data.coco import read_records
from ehrnet_tf.evaluation import evaluate
from ehrnet_tf.images import read_image
from ehrnet_tf.keypoints import KeypointSet
from ehrnet_tf.runtime.metadata import read_metadata
from ehrnet_tf.runtime.protocol import Protocol
from ehrnet_tf.training import train as training
from ehrnet_tf.training.logs import read_log

CORNERS = keypoints.load("corners")
SIDE, CATEGORY = 96, 7
# All pictures are mirrored in training and none in evaluation: who exchanged no corners would find every one on the
# wrong side, and have an AP of 0.
SETTINGS = [
    "model.keypoints=corners",
    "model.variant=H-10",
    f"model.input_size={SIDE}",
    "data.train_split=cards",
    "data.val_split=cards",
    "augment.rotation=0",
    "augment.scale=[1, 1]",
    "augment.translate=0",
    "augment.flip=1",
    "train.batch_size=4",
    "train.epochs=3",
    "train.steps_per_epoch=50",
    "train.validate_every=3",
    "train.learning_rate=5e-3",
]


def card(rng, centre):
    """The corners (4, 2) of a card that lies a little askew."""
    half = rng.uniform(18, 28, 2)
    return centre + half * [[-1, -1], [1, -1], [1, 1], [-1, 1]] + rng.uniform(-5, 5, (4, 2))


def write_cards(root, count):
    """Pictures of a light card on a dark ground, in COCO's layout; the annotations have no area."""
    rng = np.random.default_rng(0)
    (root / "cards").mkdir(parents=True)
    (root / "annotations").mkdir()
    images, annotations = [], []
    for number in range(1, count + 1):
        image = rng.integers(0, 60, (SIDE, SIDE, 3), np.uint8)
        corners = card(rng, rng.uniform(36, SIDE - 36, 2))
        color = rng.integers(150, 256, 3).tolist()
        cv2.fillConvexPoly(image, np.rint((corners - 0.5) * 16).astype(int), color, cv2.LINE_AA, 4)
        annotations.append(
            {
                "id": number,
                "image_id": number,
                "category_id": CATEGORY,
                "bbox": [*corners.min(axis=0).tolist(), *np.ptp(corners, axis=0).tolist()],
                "keypoints": np.column_stack([corners, np.full(4, 2)]).ravel().tolist(),
            }
        )
        images.append({"id": number, "file_name": f"{number}.png", "width": SIDE, "height": SIDE})
        assert cv2.imwrite(str(root / "cards" / f"{number}.png"), image)
    categories = [{"id": CATEGORY, "name": "card", "keypoints": list(CORNERS.names)}]
    data = {"images": images, "annotations": annotations, "categories": categories}
    (root / "annotations" / "person_keypoints_cards.json").write_text(json.dumps(data))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The data folder, the run folder and what `train` said."""
    root = tmp_path_factory.mktemp("own")
    write_cards(root / "data", 40)
    result = training.train(load_config(None, SETTINGS), root / "data", root / "run")
    return root / "data", root / "run", result


def test_training_learns_the_corners(trained):
    _, run, result = trained
    losses = [row["loss"] for row in read_log(run / "log.csv")]
    assert losses[-1] < 0.4 * losses[0]
    assert result["best_ap"] > 0.5
    metadata = read_metadata(run / "best.keras")
    assert KeypointSet.from_dict(metadata["keypoints"]) == CORNERS


def test_best_model_is_scored_with_its_own_set(trained, tmp_path):
    data, run, result = trained
    figures = evaluate(run / "best.keras", data, "cards", results_path=tmp_path / "found.json", details=True)
    assert figures["AP"] == pytest.approx(result["best_ap"], abs=0.02)
    assert list(figures["keypoints"]) == list(CORNERS.names)
    found = json.loads((tmp_path / "found.json").read_text())
    assert {(r["category_id"], len(r["keypoints"])) for r in found} == {(CATEGORY, 12)}
    flipped = evaluate(run / "best.keras", data, "cards", protocol=Protocol("exact", flip=True))
    assert flipped["AP"] > 0.5


def test_exported_file_finds_cards(trained, tmp_path):
    data, run, _ = trained
    model, drawings, out = tmp_path / "cards.tflite", tmp_path / "drawn", tmp_path / "found.json"
    assert cli.main(["export", str(run / "best.keras"), "--out", str(model)]) == 0
    assert KeypointSet.from_dict(read_metadata(model)["keypoints"]) == CORNERS
    record = read_records(data, "cards", "corners")[0]
    assert cli.main(["predict", str(model), record.path, "--out", str(drawings), "--json", str(out)]) == 0
    (entry,) = json.loads(out.read_text())
    assert entry["category"] == "card" and entry["keypoint_set"] == "corners"
    best = max(entry["people"], key=lambda found: found["score"])["keypoints"]
    assert list(best) == list(CORNERS.names)
    found = np.array(list(best.values()))
    assert np.linalg.norm(found[:, :2] - record.keypoints[0, :, :2], axis=1).max() < 8  # pixels of 96

    drawn = read_image(next(drawings.iterdir())).astype(int)
    x, y = found[0, :2].astype(int)
    around = drawn[y - 1 : y + 2, x - 1 : x + 2].reshape(-1, 3)
    assert np.abs(around - CORNERS.colors[0]).sum(axis=1).min() < 120, "the first corner is drawn in its own colour"
