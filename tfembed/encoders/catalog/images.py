"""Networks of keras.applications and timm by short name: one literal table."""

from tfembed.encoders.spec import EncoderSpec


def _application(name: str, handle: str, dim: int, parameters: int, licence: str, good_for: str) -> EncoderSpec:
    return EncoderSpec(
        name=name,
        handle=f"applications:{handle}",
        kind="image",
        dim=dim,
        parameters=parameters,
        licence=licence,
        source="keras.applications, trained on ImageNet",
        good_for=good_for,
    )


def _timm(name: str, handle: str, dim: int, parameters: int, good_for: str) -> EncoderSpec:
    return EncoderSpec(
        name=name,
        handle=f"hf://timm/{handle}",
        kind="image",
        dim=dim,
        parameters=parameters,
        licence="Apache-2.0",
        source="timm, trained on ImageNet",
        good_for=good_for,
    )


_APACHE, _CC_BY = "Apache-2.0", "CC-BY-4.0"
APPLICATIONS = (
    _application("mobilenet_v2_035", "MobileNetV2?alpha=0.35", 1280, 410_208, _APACHE, "photographs; very quick"),
    _application("mobilenet_v1", "MobileNet", 1024, 3_228_864, _APACHE, "photographs; quick"),
    _application("mobilenet_v3_small", "MobileNetV3Small", 576, 939_120, _APACHE, "photographs; the quickest"),
    _application("mobilenet_v3_large", "MobileNetV3Large", 960, 2_996_352, _APACHE, "photographs; quick"),
    _application("nasnet_mobile", "NASNetMobile", 1056, 4_269_716, _APACHE, "photographs; small"),
    _application("efficientnet_b0", "EfficientNetB0", 1280, 4_049_571, _APACHE, "photographs; small and accurate"),
    _application("efficientnet_b3", "EfficientNetB3", 1536, 10_783_535, _APACHE, "photographs with small details"),
    _application("efficientnet_v2_s", "EfficientNetV2S", 1280, 20_331_360, _APACHE, "photographs; accurate"),
    _application("densenet121", "DenseNet121", 1024, 7_037_504, "BSD-3-Clause", "photographs and textures"),
    _application("densenet201", "DenseNet201", 1920, 18_321_984, "BSD-3-Clause", "photographs and textures; larger"),
    _application("resnet50", "ResNet50", 2048, 23_587_712, "MIT", "photographs; the usual baseline"),
    _application("resnet101", "ResNet101", 2048, 42_658_176, "MIT", "photographs; deeper than resnet50"),
    _application("vgg16", "VGG16", 512, 14_714_688, _CC_BY, "textures and style; slow"),
    _application("vgg19", "VGG19", 512, 20_024_384, _CC_BY, "textures and style; slower than vgg16"),
    _application("inception_v3", "InceptionV3", 2048, 21_802_784, _APACHE, "photographs"),
    _application("xception", "Xception", 2048, 20_861_480, "MIT", "photographs"),
    _application("convnext_tiny", "ConvNeXtTiny", 768, 27_820_128, "MIT", "photographs; accurate, slow on CPUs"),
    _application("convnext_base", "ConvNeXtBase", 1024, 87_566_464, "MIT", "photographs; the most accurate here"),
)

TIMM = (
    _timm("resnet18_timm", "resnet18.a1_in1k", 512, 11_186_112, "photographs; quick"),
    _timm("resnet50_timm", "resnet50.a1_in1k", 2048, 23_561_152, "photographs; a stronger recipe than resnet50"),
    _timm("mobilenet_v2_timm", "mobilenetv2_100.ra_in1k", 1280, 2_257_984, "photographs; quick"),
    _timm("mobilenet_v3_timm", "mobilenetv3_large_100.ra_in1k", 1280, 4_226_432, "photographs; quick"),
    _timm("efficientnet_b0_timm", "efficientnet_b0.ra_in1k", 1280, 4_049_564, "photographs; small and accurate"),
    _timm("densenet121_timm", "densenet121.ra_in1k", 1024, 7_037_504, "photographs and textures"),
)
