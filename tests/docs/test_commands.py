"""Every command and every piece of Python in README and docs, run on small stand-ins (see `table`)."""

import pytest

from . import fakes, messages, table
from .pages import ROOT, pages, snippets
from .shell import commands
from .workshop import Workshop

pytestmark = pytest.mark.filterwarnings("ignore:Even though the `tf.config.experimental_run_functions_eagerly`")


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        fakes.install(patch, tmp_path_factory.mktemp("cudart"))
        shop = Workshop(tmp_path_factory.mktemp("pages"))
        yield shop
    for command, seconds in sorted(shop.seconds.items(), key=lambda item: -item[1])[:20]:  # pytest -s shows them
        print(f"{seconds:5.1f} s {command}")


@pytest.mark.parametrize("page", pages())
def test_page(page, workshop):
    faults = workshop.faults(page, (ROOT / page).read_text(encoding="utf-8"))
    assert not faults, "\n" + "\n".join(faults)


PAGE = """Words, `ehrnet eval --flop`, `make nothing`, `no command`.

    ehrnet info gone.tfl                # a comment
    ehrnet eval a.tflite \\
        --data data --fats
    cd docs && ehrnet train --data data --out runs/x train.epoch=3
    frobnicate --all

```bash
pip install .[nothing] 'leftpad>=1'
KERAS_FRONTEND=jax ehrnet models
```

```python
import ehrnet_tf
ehrnet_tf.load_config("h-4", ["train.batch=2"])
```

    python benchmarks/variants.py --rounds many
    python benchmarks/gone.py
    python -m ehrnet_tf.gone
    npm run nothing
    pytest tests/gone.py
    ehrnet nothing

```
what is this
```

`--duplicates-over 0.9`, `--flip --sheet a.jpg`, `--precision int3`, `--threads many`, `--config h-9`,
`loss.heatmap_fokus=10`, `los.push=1`, `loss.push=N los.push=N`, `train.sgd`, `model.variant=B-2 data.subpixel=2`,
`quantize.keep_flout`, `converters.tensorrt.no_such_thing`, `ehrnet_tf.gone`, `decoding.live.Gone(1)`,
`ehrnet export --precision int3`, `ehrnet train --config h-9`, `ehrnet quantize RUN train.epoch=3`,
`ehrnet models H0 Q-7`, `python3 -m http.server --folder x`, `python -m venv --clear x`,
`unzip -p a.tflite metadata.txt`, `unzip -l a.tflite`.

Right: `--flip --scales 0.5,1,2`, `--anonymise blur|pixelate`, `--worst N DIR`, `--only`, `--no-deps`, `a.b=c`,
`loss.push`, `train.epochs=N`, `model.variant=B-2 model.input_size=64`, `model.keypoints=mine.yaml`, `train.log`,
`decoding.live`, `ehrnet_tf.filters.Filters(...)`, `ehrnet export --format onnx`, `unzip -p a.tflite ehrnet.json`,
`ehrnet models H-2.5 B0`.

    ehrnet predict a.tflite photo.jpg --show

```python
estimator(image)
```
"""
FAULTS = [
    (1, "ehrnet eval --flop", "ehrnet eval has no option --flop"),
    (1, "make nothing", "the Makefile has no target nothing"),
    (3, "ehrnet info gone.tfl", "exit status 1: ehrnet: gone.tfl: no such model file"),
    (4, "ehrnet eval a.tflite --data data --fats", "unrecognized arguments: --fats"),
    (6, "ehrnet train --data data --out runs/x train.epoch=3", "did you mean 'train.epochs'"),
    (7, "frobnicate --all", "'frobnicate' is a program that no test knows"),
    (10, "pip install .[nothing] 'leftpad>=1'", "setup.py has no extra nothing"),
    (11, "KERAS_FRONTEND=jax ehrnet models", "nothing reads KERAS_FRONTEND"),
    (16, 'ehrnet_tf.load_config("h-4", ["train.batch=2"])', "UsageError: "),
    (19, "python benchmarks/variants.py --rounds many", "invalid int value: 'many'"),
    (20, "python benchmarks/gone.py", "no such script: benchmarks/gone.py"),
    (21, "python -m ehrnet_tf.gone", "No module named 'ehrnet_tf.gone'"),
    (22, "npm run nothing", "web_demo/package.json has no script run nothing"),
    (23, "pytest tests/gone.py", "no such test: tests/gone.py"),
    (24, "ehrnet nothing", "invalid choice: 'nothing'"),
    (27, "```", "a language that no test knows"),
    (30, "--duplicates-over 0.9", "no command has an option --duplicates-over"),
    (30, "--flip --sheet a.jpg", "no command has all of --flip, --sheet"),
    (30, "--precision int3", "--precision: 'int3' is none of float32, "),
    (30, "--threads many", "--threads: invalid literal for int()"),
    (30, "--config h-9", "no configuration h-9.yaml"),
    (31, "loss.heatmap_fokus=10", "did you mean 'loss.heatmap_focus'"),
    (31, "los.push=1", "unknown key 'los'"),
    (31, "loss.push=N los.push=N", "no configuration has a key los.push"),
    (31, "train.sgd", "no configuration has a key train.sgd"),
    (31, "model.variant=B-2 data.subpixel=2", "data.subpixel"),
    (32, "quantize.keep_flout", "no configuration has a key quantize.keep_flout"),
    (32, "converters.tensorrt.no_such_thing", "there is no ehrnet_tf.converters.tensorrt.no_such_thing"),
    (32, "ehrnet_tf.gone", "there is no ehrnet_tf.gone"),
    (32, "decoding.live.Gone(1)", "there is no ehrnet_tf.decoding.live.Gone"),
    (33, "ehrnet export --precision int3", "--precision: 'int3' is none of float32, "),
    (33, "ehrnet train --config h-9", "no configuration h-9.yaml"),
    (33, "ehrnet quantize RUN train.epoch=3", "did you mean 'train.epochs'"),
    (34, "ehrnet models H0 Q-7", "Q-7"),
    (34, "python3 -m http.server --folder x", "http.server has no option --folder"),
    (34, "python -m venv --clear x", "venv has no option --clear"),
    (35, "unzip -p a.tflite metadata.txt", "a.tflite has no member metadata.txt"),
    (35, "unzip -l a.tflite", "only unzip -p FILE MEMBER is known here"),
    (45, "estimator(image)", "NameError: name 'estimator' is not defined"),
]


def test_what_does_not_work_is_named_with_its_line(workshop):
    """What fails in a page that is wrong throughout; what works in it is not mentioned."""
    found = workshop.faults("docs/wrong.md", PAGE)
    assert len(found) == len(FAULTS), "\n".join(found)
    for fault, (line, command, why) in zip(found, FAULTS, strict=True):
        assert fault.startswith(f"docs/wrong.md:{line}: {command}: ") and why in fault


def test_a_step_goes_on_from_an_earlier_one(workshop, monkeypatch):
    """Of a page that tells a story, what no command has made is not there; of others it is."""
    steps = """    ehrnet train --config overfit --data data --out runs/overfit
    ehrnet eval runs/overfit/last.keras --data data
    ehrnet eval runs/overfitted/last.keras --data data
    ehrnet info b.tflite
    ehrnet export runs/overfit/last.keras --out b.tflite
    ehrnet predict b.tflite photo.jpg --out drawings
"""
    monkeypatch.setitem(table.STORIES, "docs/story.md", set())
    assert [fault.partition(": exit")[0] for fault in workshop.faults("docs/story.md", steps)] == [
        "docs/story.md:3: ehrnet eval runs/overfitted/last.keras --data data",
        "docs/story.md:4: ehrnet info b.tflite",
    ]
    monkeypatch.setitem(table.STORIES, "docs/story.md", {"runs/overfitted", "b.tflite"})
    begun = "    ehrnet info runs/overfitted/last.keras\n    ehrnet info b.tflite\n    ehrnet info c.tflite"
    (fault,) = workshop.faults("docs/story.md", begun)
    assert fault.startswith("docs/story.md:3: ehrnet info c.tflite: exit")


def test_a_message_that_changed_is_noticed():
    """Those that the pages quote from tables of symptoms; not what stands elsewhere, or is another program's."""
    page = """| symptom | because | do |
|---|---|---|
| `no such annotations file`, `no such annotation file` | `not said` | |
| "skipped 3 pictures", "the loss is nan", "skipped N photos" | | |
| `names 5 keypoints, the set 'coco' 17`, `names 5 keypoints of the set 'coco'` | | |
| `import cv2` fails, `--fast`, `ehrnet info` | | |

| other |
| `not a message` |
"""
    found = messages.faults("docs/troubleshooting.md", page)
    assert [(line, message) for line, message, _ in found] == [
        (3, "no such annotations file"),
        (4, "skipped N photos"),
        (5, "names 5 keypoints of the set 'coco'"),
    ]
    assert not messages.faults("docs/data.md", page)


@pytest.mark.parametrize(
    ("page", "fault"),
    [
        (
            "    ehrnet predict 'a.tflite photo.jpg",
            "docs/x.md:1: ehrnet predict 'a.tflite photo.jpg: No closing quotation",
        ),
        ("```bash\nmake test", "docs/x.md: line 1: a fence that is not closed"),
        ("```python\nimport ehrnet_tf\nfor\n```", "docs/x.md:3: for: SyntaxError: invalid syntax"),
        ("    pip freeze", "docs/x.md:1: pip freeze: pip freeze: not among "),
        ("    cp gone.txt b.txt", "docs/x.md:1: cp gone.txt b.txt: "),
    ],
)
def test_pages_that_are_no_pages(page, fault, workshop):
    (found,) = workshop.faults("docs/x.md", page)
    assert found.startswith(fault)


def test_the_parts_of_a_page():
    found = snippets(
        "a `b c`\nand ``d`e``\n    no code\n\n    code\n\n      more\n\n1. list\n\n   ```js\n   x\n   ```\n`f\ng`"
    )
    assert [(part.line, part.kind, part.text) for part in found] == [
        (1, "inline", "b c"),
        (2, "inline", "d`e"),
        (5, "indented", "code\n\n  more"),
        (12, "js", "x"),
        (14, "inline", "f g"),
    ]


def test_the_parts_of_a_shell_block():
    found = commands("A=1 B='x y' run '#1' a#b  # but this\n\n# nor this\none \\\n  two && three\nT=/usr/bin", 7)
    assert [(part.line, part.environment, part.words) for part in found] == [
        (7, {"A": "1", "B": "x y"}, ["run", "#1", "a#b"]),
        (10, {}, ["one", "two"]),
        (10, {}, ["three"]),
        (12, {"T": "/usr/bin"}, []),
    ]
