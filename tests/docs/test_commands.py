"""Every command and every piece of Python in README and docs, run on small stand-ins (see `table`)."""

import pytest

from . import fakes
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
]


def test_what_does_not_work_is_named_with_its_line(workshop):
    """What fails in a page that is wrong throughout; what works in it is not mentioned."""
    found = workshop.faults("docs/wrong.md", PAGE)
    assert len(found) == len(FAULTS), "\n".join(found)
    for fault, (line, command, why) in zip(found, FAULTS, strict=True):
        assert fault.startswith(f"docs/wrong.md:{line}: {command}: ") and why in fault


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
