import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ehrnet_tf.config import Config, PretrainConfig, load_config, save_config
from ehrnet_tf.configs import FOLDER
from ehrnet_tf.errors import UsageError


def write(tmp_path, text):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    return path


def test_file_and_overrides(tmp_path):
    path = write(tmp_path, "model: {variant: H-3}\ntrain: {learning_rate: 2e-3, milestones: [5, 7]}\n")
    config = load_config(path, ["train.epochs=9", "augment.scale=[0.9, 1]", "model.input_size=null"])
    assert config.model.variant == "H-3"
    assert config.train.learning_rate == 2e-3
    assert config.train.milestones == (5.0, 7.0)
    assert config.train.epochs == 9
    assert config.augment.scale == (0.9, 1.0)
    assert config.decode == Config().decode


def test_empty_file_is_the_defaults(tmp_path):
    assert load_config(write(tmp_path, "")) == Config() == load_config()


def test_saved_config_reads_back(tmp_path):
    config = load_config(None, ["train.schedule=cosine", "decode.threshold=0.2", "data.limit=16"])
    save_config(tmp_path / "saved.yaml", config)
    assert load_config(tmp_path / "saved.yaml") == config


@pytest.mark.parametrize("name", sorted(p.stem for p in FOLDER.glob("*.yaml")))
def test_named_configs_are_valid(name):
    assert load_config(name) == load_config(FOLDER / f"{name}.yaml")
    assert f"--config {name} " in (FOLDER / f"{name}.yaml").read_text() or name == "demo"


@pytest.mark.parametrize("name", sorted(p.stem for p in (FOLDER / "pretrain").glob("*.yaml")))
def test_named_classifier_configs_are_valid(name):
    assert load_config(name, kind=PretrainConfig) == load_config(
        FOLDER / "pretrain" / f"{name}.yaml", (), PretrainConfig
    )


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("h-2-relu6", {"activation": "relu6"}),
        ("h-2-no-se", {"squeeze_excite": False}),
        ("h-2-w8", {"width_divisor": 8}),
        ("h-2-resize", {"upsampling": "resize"}),
        *((f"e{phi}", {"variant": f"E{phi}"}) for phi in ("0", "-1", "-2", "-3", "-4")),
    ],
)
def test_configs_of_one_option_change_it_alone(name, option):
    base = load_config("h-2")
    assert load_config(name) == dataclasses.replace(base, model=dataclasses.replace(base.model, **option))


def test_pretraining_has_its_own_keys(tmp_path):
    config = load_config(None, ["model.variant=B-2", "data.flip=0", "train.epochs=3"], PretrainConfig)
    assert (config.model.variant, config.data.flip, config.train.epochs) == ("B-2", 0, 3)
    save_config(tmp_path / "saved.yaml", config)
    assert load_config(tmp_path / "saved.yaml", kind=PretrainConfig) == config
    for override, message in (
        ("train.freeze_backbone_epochs=1", "unknown key"),
        ("data.validation=1", "between 0 and 1"),
        ("data.crop_area=[0.5, 2]", "crop_area"),
        ("data.color=1.5", "color"),
    ):
        with pytest.raises(UsageError, match=message):
            load_config(None, [override], PretrainConfig)
    with pytest.raises(UsageError, match="freeze_backbone_epochs must not be negative"):
        load_config(None, ["train.freeze_backbone_epochs=-1"])
    with pytest.raises(UsageError, match=r"named configurations \(body-parts\)"):
        load_config("h-2", kind=PretrainConfig)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: {varient: H0}", "unknown key 'model.varient'; did you mean 'model.variant'"),
        ("trian: {}", "unknown key 'trian'; did you mean 'train'"),
        ("train: {epochs: many}", "'train.epochs' must be an integer, not 'many'"),
        ("train: {epochs: 1.5}", "'train.epochs' must be an integer"),
        ("train: {epochs: true}", "'train.epochs' must be an integer"),
        ("train: {epochs: 0}", "epochs must be at least 1"),
        ("model: {squeeze_excite: 1}", "'model.squeeze_excite' must be true or false"),
        ("augment: {scale: [1]}", "'augment.scale' must be a list of 2 values"),
        ("augment: {scale: [1, 0.5]}", "scale must be two positive numbers"),
        ("loss: {tag_form: cube}", "tag_form must be"),
        ("train: {optimizer: adma}", "optimizer must be"),
        ("data: {tag_radius: -1}", "tag_radius must not be negative"),
        ("decode: {nms_kernel: 4}", "nms_kernel"),
        ("model: [1, 2]", "'model' must be a mapping"),
        ("- 1", "must be a mapping"),
        ("model: {", "cannot be read as YAML"),
    ],
)
def test_bad_files_name_file_and_key(tmp_path, text, message):
    path = write(tmp_path, text)
    with pytest.raises(UsageError) as error:
        load_config(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("override", ["train.epochs", "train.epoch=3", "train.epochs=x", "epochs=3", "train=3"])
def test_bad_overrides_are_quoted(override):
    with pytest.raises(UsageError) as error:
        load_config(None, [override])
    assert f"override '{override}'" in str(error.value)


def test_missing_config_lists_the_named_ones():
    with pytest.raises(UsageError, match="demo"):
        load_config("nothing-like-it")


def test_dict_is_plain_yaml():
    assert yaml.safe_load(yaml.safe_dump(Config().to_dict()))["augment"]["scale"] == [0.75, 1.5]


def test_named_configurations_are_there_in_a_checkout_that_is_not_installed():
    """Python takes the checkout's ehrnet_tf/ before an installed package, for scripts that run there."""
    code = "import sys; sys.meta_path[:] = [finder for finder in sys.meta_path if 'ditable' not in repr(finder)]\n"
    code += "import ehrnet_tf; assert ehrnet_tf.load_config('h-4').model.variant == 'H-4'\n"
    code += "from ehrnet_tf.converters.export import FORMATS; assert 'tflite' in FORMATS\n"
    code += "import importlib.util; assert importlib.util.find_spec('ehrnet_tf.tests') is None"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], check=True)
