"""The two builds of the Android demo agree: Gradle's (Android Studio) and Maven's (without the Android SDK)."""

import re
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

tomllib = pytest.importorskip("tomllib")  # Python 3.11

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "android_demo"
POM = {"m": "http://maven.apache.org/POM/4.0.0"}
CATALOG = tomllib.loads((DEMO / "gradle/libs.versions.toml").read_text())
MODULES = ("posekit", "app")


def properties(pom: str) -> dict[str, str]:
    """The properties of a pom.xml by name."""
    found = ElementTree.parse(DEMO / pom).find("m:properties", POM)
    return {element.tag.split("}")[1]: element.text for element in found}


def committed(*folders: str) -> list[str]:
    """The committed files of folders, by their paths in the repository."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    return subprocess.check_output(["git", "-C", ROOT, "ls-files", *folders], text=True).splitlines()


@pytest.mark.parametrize("name", ["kotlin", "serialization", "junit", "robolectric"])
def test_both_builds_use_one_version(name):
    assert properties("pom.xml")[f"{name}.version"] == CATALOG["versions"][name]


def test_the_app_is_one_app_in_both_builds():
    gradle, maven = (DEMO / "app/build.gradle.kts").read_text(), properties("app/pom.xml")

    def setting(name: str) -> str:
        return re.search(rf'\b{name} = "?([\w.]+)"?', gradle)[1]

    assert setting("applicationId") == setting("namespace") == maven["app.id"]
    for name in ("minSdk", "targetSdk", "versionCode", "versionName"):
        assert setting(name) == maven[f"app.{name}"], name
    assert setting("compileSdk") == maven["app.targetSdk"]
    signature = next(ElementTree.parse(DEMO / "pom.xml").iterfind(".//m:signature/m:artifactId", POM)).text
    assert signature == f"gummy-bears-api-{setting('minSdk')}"


def test_scripts_name_only_what_the_catalog_has():
    known = {f"plugins.{alias}" for alias in CATALOG["plugins"]} | set(CATALOG["libraries"])
    for script in (DEMO / "build.gradle.kts", *DEMO.glob("*/build.gradle.kts")):
        used = re.findall(r"\(libs\.([\w.]+)\)", script.read_text())
        assert used, script
        assert {name.replace("plugins.", "plugins/").replace(".", "-").replace("/", ".") for name in used} <= known
    for entry in (*CATALOG["plugins"].values(), *CATALOG["libraries"].values()):
        assert entry["version"]["ref"] in CATALOG["versions"]


def test_both_builds_see_every_source():
    """Gradle and Maven read src/main/kotlin and src/test/kotlin of the same modules; nothing lies elsewhere."""
    included = re.search(r"include\((.+)\)", (DEMO / "settings.gradle.kts").read_text())[1]
    assert set(re.findall(r'":(\w+)"', included)) == set(MODULES)
    assert set(MODULES) <= {
        element.text for element in ElementTree.parse(DEMO / "pom.xml").iterfind(".//m:module", POM)
    }
    sources = [path for path in committed("android_demo") if path.endswith((".kt", ".java"))]
    folders = tuple(
        f"android_demo/{module}/src/{part}/kotlin/ehrnet/" for module in MODULES for part in ("main", "test")
    )
    assert sources
    assert [path for path in sources if not path.startswith(folders) or path.endswith(".java")] == []


def test_only_text_is_committed_but_the_wrapper():
    """No model, no APK, no library: git calls nothing binary but Gradle's wrapper and pictures."""
    empty = subprocess.check_output(["git", "-C", ROOT, "hash-object", "-t", "tree", "/dev/null"], text=True).strip()
    committed("android_demo")
    changed = subprocess.check_output(
        ["git", "-C", ROOT, "diff", "--numstat", "--cached", empty, "--", "android_demo"], text=True
    )
    binary = [line.split("\t")[2] for line in changed.splitlines() if line.startswith("-\t-\t")]
    assert [path for path in binary if not path.endswith((".png", ".webp", ".jpg"))] == [
        "android_demo/gradle/wrapper/gradle-wrapper.jar"
    ]


def test_the_launcher_icon_is_committed():
    manifest = (DEMO / "app/src/main/AndroidManifest.xml").read_text()
    kind, name = re.search(r'android:icon="@(\w+)/(\w+)"', manifest).groups()
    assert [path for path in committed(f"android_demo/app/src/main/res/{kind}*") if Path(path).stem == name]
