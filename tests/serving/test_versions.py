"""Versions come, go and break, and somebody always serves."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from served_models import write_broken, write_half_plus
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from tfembed.serving.inference import Inference
from tfembed.serving.metrics import Metrics
from tfembed.serving.model_config import ModelConfig, VersionPolicy
from tfembed.serving.servable import LoadOptions, Servable
from tfembed.serving.server import reload, run_server
from tfembed.serving.service import loader, model_spec
from tfembed.serving.settings import Settings
from tfembed.serving.status import Code, ServingError
from tfembed.serving.store import ModelStore
from tfembed.serving.versions import ModelVersions, State, list_versions

load = loader(LoadOptions(), Metrics())


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_half_plus(tmp_path_factory.mktemp("exported") / "model")


@pytest.fixture
def base(tmp_path: Path, exported: Path) -> Path:
    """A base path with version 1."""
    shutil.copytree(exported, tmp_path / "m" / "1")
    return tmp_path / "m"


def versions(base: Path, **policy: Any) -> ModelVersions:
    model = ModelVersions(ModelConfig(name="m", base_path=base, policy=VersionPolicy(**policy)), load)
    model.poll()
    return model


def serving(model: ModelVersions, **which: Any) -> int:
    with model.acquire(**which).in_use() as servable:
        (y,) = Inference(servable).predict({"x": np.float32([2])}).values()
        assert y.tolist() == [3.0]
        return servable.version


def states(model: ModelVersions) -> dict[int, State]:
    return {each.version: each.state for each in model.statuses()}


def test_a_new_version_takes_over(base: Path, exported: Path) -> None:
    """The highest version serves by default; the one before is unloaded after it serves."""
    model = versions(base)
    assert serving(model) == 1
    shutil.copytree(exported, base / "2")
    model.poll()
    model.wait_until_unloaded()
    assert serving(model) == 2
    assert states(model) == {2: State.AVAILABLE, 1: State.END}
    assert [each.version for each in model.statuses()] == [2, 1]
    with pytest.raises(ServingError, match=r"Servable not found for request: Specific\(m, 1\)"):
        model.acquire(1)


def test_a_broken_version_is_reported_and_the_old_one_goes_on(base: Path, exported: Path) -> None:
    """A version that cannot be loaded ends with its error; when it is repaired, it takes over."""
    model = versions(base)
    write_broken(base / "2")
    model.poll()
    assert serving(model) == 1
    broken, old = model.statuses()
    assert (broken.state, old.state) == (State.END, State.AVAILABLE)
    assert broken.error is not None
    assert broken.error.code is not Code.OK
    shutil.rmtree(base / "2")
    shutil.copytree(exported, base / "2")
    model.poll()
    assert serving(model) == 2


def test_a_version_without_a_model_is_reported(base: Path) -> None:
    """An empty folder is a version that has no model."""
    (base / "2").mkdir()
    model = versions(base)
    (status,) = model.statuses(2)
    assert status.error is not None
    assert status.error.code is Code.NOT_FOUND
    assert "Could not find SavedModel" in status.error.message


def test_a_broken_version_is_not_loaded_at_every_poll(base: Path) -> None:
    """As long as its files stay as they are, it is not tried again at once."""
    write_broken(base / "2")
    tried: list[int] = []

    def counting(name: str, version: int, folder: Path) -> Servable:
        tried.append(version)
        return load(name, version, folder)

    model = ModelVersions(ModelConfig(name="m", base_path=base), counting)
    for _ in range(3):
        model.poll()
    assert tried == [2]


def test_folders_that_are_no_versions_are_ignored(base: Path) -> None:
    """TensorFlow Serving looks at folders with numbers for names only."""
    for name in (".incomplete-5", "5a", "-3", "٣", "1" * 25):
        (base / name).mkdir()
    (base / "7").write_text("a file")
    assert list_versions(base) == [1]


def test_policies(base: Path, exported: Path) -> None:
    """All versions, the latest ones, or those that are named."""
    for version in (2, 3, 10):
        shutil.copytree(exported, base / str(version))
    assert set(states(versions(base, all=True))) == {1, 2, 3, 10}
    assert set(states(versions(base, latest=2))) == {3, 10}
    model = versions(base, specific=(1, 3, 99))
    assert set(states(model)) == {1, 3}
    assert serving(model) == 3
    assert serving(model, version=1) == 1


def test_leading_zeros(tmp_path: Path, exported: Path) -> None:
    """A version's folder may be called 00000123."""
    shutil.copytree(exported, tmp_path / "00000123")
    assert serving(versions(tmp_path)) == 123


def test_labels(base: Path, exported: Path) -> None:
    """A label names an available version; new ones may name others where that is allowed."""
    shutil.copytree(exported, base / "2")
    model = versions(base, all=True)
    model.check_labels({"stable": 1, "canary": 2}, None, allow_unavailable=False)
    model.set_labels({"stable": 1, "canary": 2})
    assert (serving(model, label="stable"), serving(model, label="canary")) == (1, 2)
    with pytest.raises(ServingError, match="FAILED_PRECONDITION: Request to assign label to version 777 of model m"):
        model.check_labels({"stable": 777}, None, allow_unavailable=False)
    with pytest.raises(ServingError, match="FAILED_PRECONDITION"):
        model.check_labels({"stable": 777}, None, allow_unavailable=True)
    model.check_labels({"next": 777}, None, allow_unavailable=True)
    model.set_labels({"next": 777})
    with pytest.raises(ServingError, match=r"Specific\(m, 777\)"):
        model.acquire(label="next")
    with pytest.raises(ServingError, match="INVALID_ARGUMENT: Unrecognized servable version label: stable"):
        model.acquire(label="stable")


def test_removed_versions_are_unloaded(base: Path) -> None:
    """When every version is gone, nothing serves any more."""
    model = versions(base)
    shutil.rmtree(base / "1")
    model.poll()
    model.wait_until_unloaded()
    assert states(model) == {1: State.END}
    with pytest.raises(ServingError, match=r"Servable not found for request: Latest\(m\)"):
        model.acquire()


def test_a_base_path_that_is_away_for_a_moment(base: Path) -> None:
    """A file system that cannot be reached is no reason to stop: what serves goes on."""
    model = versions(base)
    base.rename(base.with_name("away"))
    model.poll()
    assert serving(model) == 1
    base.with_name("away").rename(base)
    model.poll()
    assert states(model) == {1: State.AVAILABLE}


def test_a_version_in_use_is_unloaded_only_after(base: Path, exported: Path) -> None:
    """A request keeps its version loaded, also while another one takes over."""
    model = versions(base)
    shutil.copytree(exported, base / "2")
    with model.acquire().in_use() as servable:
        model.poll()
        assert states(model)[1] == State.UNLOADING
        assert Inference(servable).predict({"x": np.float32([4])})["y"].tolist() == [4.0]
    model.wait_until_unloaded()
    assert states(model)[1] == State.END


def write_warmup(folder: Path, *inputs: str) -> None:
    """Warmup records, each a predict request with that input."""
    extra = folder / "assets.extra"
    extra.mkdir()
    with tf.io.TFRecordWriter(str(extra / "tf_serving_warmup_requests")) as writer:
        for name in inputs:
            request = predict_pb2.PredictRequest()
            request.inputs[name].CopyFrom(tf.make_tensor_proto(np.float32([1])))
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString())


def test_warmup(base: Path) -> None:
    """Warmup requests are replayed at the load; one that fails fails it, unless warmup is off."""
    write_warmup(base / "1", "x")
    assert serving(versions(base)) == 1
    shutil.rmtree(base / "1" / "assets.extra")
    write_warmup(base / "1", "x", "z")
    (status,) = versions(base).statuses()
    assert status.error is not None
    assert "input tensor alias not found in signature: z" in status.error.message
    loader(LoadOptions(warmup=False), Metrics())("m", 1, base / "1").unload()


def test_a_store_keeps_what_it_can(base: Path, tmp_path: Path) -> None:
    """A model that cannot be loaded does not keep the others from serving."""
    write_broken(tmp_path / "n" / "1")
    store = ModelStore(load)
    configs = tuple(ModelConfig(name=name, base_path=tmp_path / name) for name in ("m", "n"))
    with pytest.raises(ServingError, match="Some models did not become available"):
        store.configure(configs)
    assert store.names == ["m", "n"]
    spec = predict_pb2.PredictRequest().model_spec
    spec.name = "m"
    with store.acquire(spec).in_use() as servable:
        assert servable.version == 1
    store.close()


def test_a_model_may_move(base: Path, tmp_path: Path, exported: Path) -> None:
    """Under another base path, a model of the same name takes over with the same version."""
    shutil.copytree(exported, tmp_path / "elsewhere" / "1")
    store = ModelStore(load)
    store.configure((ModelConfig(name="m", base_path=base),))
    spec = predict_pb2.PredictRequest().model_spec
    spec.name = "m"
    with store.acquire(spec).in_use() as before:
        store.configure((ModelConfig(name="m", base_path=tmp_path / "elsewhere"),))
        with store.acquire(spec).in_use() as after:
            assert before is not after
    store.close()


def test_a_refused_configuration_changes_nothing(base: Path, exported: Path) -> None:
    """A label of a version that would not serve is found before models and versions change hands."""
    shutil.copytree(exported, base / "2")
    shutil.copytree(exported, base.parent / "other" / "1")
    one = ModelConfig(name="m", base_path=base, labels={"stable": 2})
    store = ModelStore(load)
    store.configure((one,))
    other = ModelConfig(name="other", base_path=base.parent / "other", labels={"stable": 777})
    back = ModelConfig(name="m", base_path=base, policy=VersionPolicy(specific=(1,)), labels={"old": 1})
    leaving = replace(back, labels={"stable": 2})  # to a version that the new policy unloads
    for refused in ((back, other), (other,), (leaving,)):
        with pytest.raises(ServingError, match="FAILED_PRECONDITION"):
            store.configure(refused)
        assert store.names == ["m"]
        with store.acquire(model_spec("m", label="stable")).in_use() as servable:
            assert servable.version == 2
        loaded = [each.version for each in store.statuses(model_spec("m")) if each.state == State.AVAILABLE]
        assert loaded == [2]
    store.configure((back,))
    with store.acquire(model_spec("m", label="old")).in_use() as servable:
        assert servable.version == 1
    store.close()


@pytest.mark.parametrize("content", ["", "model_config_list {}", 'model_config_list { config { name: "m" base_pa'])
def test_a_file_that_is_being_written_unloads_nothing(base: Path, tmp_path: Path, content: str) -> None:
    """An empty or cut configuration file is not taken over, and the reason is said."""
    file = tmp_path / "models.config"
    file.write_text(f'model_config_list {{ config {{ name: "m" base_path: "{base}" model_platform: "tensorflow" }} }}')
    settings, store = Settings(model_config_file=file), ModelStore(load)
    assert reload(settings, store) == ""
    file.write_text(content)
    assert "the configuration stays as it was" in reload(settings, store)
    assert store.names == ["m"]
    store.close()


def test_a_refused_configuration_ends_the_start(base: Path, tmp_path: Path) -> None:
    """A server that would serve nothing does not start."""
    file = tmp_path / "models.config"
    file.write_text(
        f'model_config_list {{ config {{ name: "m" base_path: "{base}" model_platform: "tensorflow" '
        'version_labels { key: "stable" value: 777 } } }'
    )
    with (
        pytest.raises(ValueError, match="Request to assign label to version 777 of model m"),
        run_server(Settings(model_config_file=file, port=0, rest_api_port=0)),
    ):
        pass


def test_numbers_of_versions_have_up_to_19_digits(base: Path, exported: Path) -> None:
    """As many as fit into 64 bits: a time stamp in nanoseconds is a version."""
    shutil.copytree(exported, base / "1796123456789012345")
    (base / "9999999999999999999").mkdir()
    assert serving(versions(base)) == 1796123456789012345


def test_a_version_that_is_completed_in_place_is_loaded_at_once(base: Path, exported: Path) -> None:
    """The last file to arrive may be that of the values."""
    shutil.copytree(exported, base / "2")
    data = next((base / "2" / "variables").glob("variables.data-*"))
    content = data.read_bytes()
    data.write_bytes(b"")
    model = versions(base)
    assert states(model) == {2: State.END}
    data.write_bytes(content)
    model.poll()
    assert serving(model) == 2
