"""Tiny modules in the formats that TensorFlow Hub serves, written once per session with plain TensorFlow."""

from pathlib import Path

import pytest
import tensorflow as tf

FLOAT_COLUMN = tf.TensorSpec([None, 1], tf.float32)


def _save(module: tf.Module | tf.train.Checkpoint, folder: Path, **options: object) -> str:
    tf.saved_model.save(module, str(folder), **options)
    return str(folder)


@pytest.fixture(scope="session")
def half_plus_one(tmp_path_factory: pytest.TempPathFactory) -> str:
    """y = x / 2 + 1 with a trainable kernel, its L2 loss, and a kernel and a bias that never train."""
    module = tf.train.Checkpoint()
    kernel = tf.Variable([[0.5]], name="times_w/kernel")
    fixed, bias = tf.Variable([[1.0]], False, name="plus_1/kernel"), tf.Variable([1.0], False, name="plus_1/bias")
    module.__call__ = tf.function(lambda inputs: inputs @ kernel @ fixed + bias, input_signature=[FLOAT_COLUMN])
    module.variables, module.trainable_variables = [kernel, fixed, bias], [kernel]
    module.regularization_losses = [tf.function(lambda: 0.01 * tf.reduce_sum(kernel**2), input_signature=[])]
    return _save(module, tmp_path_factory.mktemp("half_plus_one"))


@pytest.fixture(scope="session")
def batch_norm(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One batch norm of momentum 0.8 behind a `training` argument; variables beta, gamma, mean, variance."""
    module = tf.train.Checkpoint()
    beta, gamma = tf.Variable([0.0], name="bn/beta"), tf.Variable([1.0], name="bn/gamma")
    mean = tf.Variable([0.0], False, name="bn/moving_mean")
    variance = tf.Variable([1.0], False, name="bn/moving_variance")

    @tf.function
    def call(inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        now = (mean, variance)
        if training:
            now = tf.nn.moments(inputs, axes=[0])
            for moving, value in zip((mean, variance), now, strict=True):
                moving.assign(0.8 * moving + 0.2 * value)
        return tf.nn.batch_normalization(inputs, *now, beta, gamma, 1e-3)

    for training in (True, False):
        call.get_concrete_function(FLOAT_COLUMN, training=training)
    module.__call__ = call
    module.trainable_variables, module.variables = [beta, gamma], [beta, gamma, mean, variance]
    module.regularization_losses = []
    return _save(module, tmp_path_factory.mktemp("batch_norm"))


@pytest.fixture(scope="session")
def dropout(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Dropout of rate 0.5 after a trainable scale."""
    module = tf.train.Checkpoint()
    scale = tf.Variable([1.0], name="scale")

    @tf.function
    def call(inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        return tf.nn.dropout(inputs * scale, 0.5) if training else inputs * scale

    for training in (True, False):
        call.get_concrete_function(FLOAT_COLUMN, training=training)
    module.__call__, module.variables, module.trainable_variables = call, [scale], [scale]
    return _save(module, tmp_path_factory.mktemp("dropout"))


@pytest.fixture(scope="session")
def linear_arguments(tmp_path_factory: pytest.TempPathFactory) -> str:
    """y = a * x + b with a and b as arguments that have defaults; no variables."""
    scalar = tf.TensorSpec([], tf.float32)
    module = tf.train.Checkpoint()
    module.__call__ = tf.function(lambda x, a=1.0, b=0.0: a * x + b, input_signature=[FLOAT_COLUMN, scalar, scalar])
    return _save(module, tmp_path_factory.mktemp("linear_arguments"))


@pytest.fixture(scope="session")
def dict_io(tmp_path_factory: pytest.TempPathFactory) -> str:
    """From a dict of x and y: sigma = [x + y, x + 2y], and with return_dict=True a dict of it and delta = x - y."""
    module = tf.train.Checkpoint()

    @tf.function
    def call(inputs: dict[str, tf.Tensor], return_dict: bool = False) -> tf.Tensor | dict[str, tf.Tensor]:
        x, y = inputs["x"], inputs["y"]
        sigma = tf.concat([x + y, x + 2 * y], axis=-1)
        return {"sigma": sigma, "delta": x - y} if return_dict else sigma

    for return_dict in (True, False):
        call.get_concrete_function({"x": FLOAT_COLUMN, "y": FLOAT_COLUMN}, return_dict=return_dict)
    module.__call__ = call
    return _save(module, tmp_path_factory.mktemp("dict_io"))


@pytest.fixture(scope="session")
def lists_in_dict(tmp_path_factory: pytest.TempPathFactory) -> str:
    """From a list of a tensor and a dict of one: a dict of a list and a tensor, as transformer encoders return."""
    module = tf.train.Checkpoint()

    @tf.function(input_signature=[[FLOAT_COLUMN, {"scale": FLOAT_COLUMN}]])
    def call(inputs: list) -> dict[str, object]:
        x, scale = inputs[0], inputs[1]["scale"]
        return {"layers": [x, x * scale], "pooled": tf.reduce_sum(x * scale, axis=-1)}

    module.__call__ = call
    return _save(module, tmp_path_factory.mktemp("lists_in_dict"))


@pytest.fixture(scope="session")
def hidden_shapes(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A list of three outputs of shapes (1), (2, 2), (3, 3, 3) that TensorFlow cannot infer."""
    module = tf.train.Checkpoint()

    @tf.function(input_signature=[FLOAT_COLUMN])
    def call(x: tf.Tensor) -> list[tf.Tensor]:
        outputs = []
        for size in (1, 2, 3):
            shape = tf.concat([[tf.shape(x)[0]], [size] * size], axis=0)
            hidden = tf.strings.to_number(tf.strings.as_string(shape), tf.int32)  # inference ends at the strings
            outputs.append(tf.broadcast_to(tf.reshape(size * x, [-1] + [1] * size), hidden))
        return outputs

    module.__call__ = call
    return _save(module, tmp_path_factory.mktemp("hidden_shapes"))


@pytest.fixture(scope="session")
def plus_one(tmp_path_factory: pytest.TempPathFactory) -> str:
    """x + 1 for any shape, as a callable and as the signature serving_default; no variables."""
    module = tf.train.Checkpoint()
    module.__call__ = tf.function(lambda x: x + 1.0, input_signature=[tf.TensorSpec(None, tf.float32)])
    return _save(module, tmp_path_factory.mktemp("plus_one"))


@pytest.fixture(scope="session")
def only_signature(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A SavedModel that is not callable: signature "add" from x and y to total and difference."""
    module = tf.train.Checkpoint()
    add = tf.function(
        lambda x, y: {"total": x + y, "difference": x - y},
        input_signature=[tf.TensorSpec([None, 1], tf.float32, "x"), tf.TensorSpec([None, 1], tf.float32, "y")],
    )
    return _save(module, tmp_path_factory.mktemp("only_signature"), signatures={"add": add})


@pytest.fixture(scope="session")
def tf1_half_plus_one(tmp_path_factory: pytest.TempPathFactory) -> str:
    """y = x / 2 + 1 in the format of TF1 Hub: a graph without tags, signature and output "default", and a marker."""
    return _save_tf1(tmp_path_factory.mktemp("tf1") / "module", [[]])


@pytest.fixture(scope="session")
def tf1_two_graphs(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same with a second graph under the tag "train", which adds 2."""
    return _save_tf1(tmp_path_factory.mktemp("tf1_tags") / "module", [[], ["train"]])


def _save_tf1(folder: Path, tag_sets: list[list[str]]) -> str:
    v1 = tf.compat.v1
    builder = v1.saved_model.builder.SavedModelBuilder(str(folder))
    for place, tags in enumerate(tag_sets):
        with tf.Graph().as_default(), v1.Session() as session:
            x = v1.placeholder(tf.float32, [None, 1])
            kernel = v1.get_variable("kernel", initializer=[[0.5]], use_resource=True)
            bias = v1.get_variable("bias", initializer=[1.0], use_resource=True, trainable=False)
            session.run(v1.global_variables_initializer())
            info, output = v1.saved_model.build_tensor_info, x @ kernel + bias + float(place)
            signature = v1.saved_model.build_signature_def({"default": info(x)}, {"default": info(output)})
            add = {"signature_def_map": {"default": signature}}
            if place == 0:
                builder.add_meta_graph_and_variables(session, tags, **add)
            else:
                builder.add_meta_graph(tags, **add)
    builder.save()
    (folder / "tfhub_module.pb").write_bytes(b"\x08\x03")  # format: SavedModel
    return str(folder)


@pytest.fixture(scope="session")
def text_lengths(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Strings (batch) to two features: length of the text times a trainable row."""
    module = tf.train.Checkpoint()
    row = tf.Variable([[0.1, 0.3]], name="row")

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def call(texts: tf.Tensor) -> tf.Tensor:
        return tf.cast(tf.strings.length(texts), tf.float32)[:, None] @ row

    module.__call__, module.variables, module.trainable_variables = call, [row], [row]
    return _save(module, tmp_path_factory.mktemp("text_lengths"))


@pytest.fixture(scope="session")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Words to embeddings through a lookup table read from an asset; the greeting is a string variable."""
    file = tmp_path_factory.mktemp("vocabulary_source") / "words.txt"
    file.write_text("book\nflight\nrefund\n")
    module = tf.train.Checkpoint()
    module.words = tf.saved_model.Asset(str(file))
    initializer = tf.lookup.TextFileInitializer(
        module.words, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
    )
    module.table = tf.lookup.StaticHashTable(initializer, default_value=3)
    rows = tf.Variable([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 0.0]], name="embedding/rows")
    greeting = tf.Variable([b"hello", b"good\x00day\x00", "grüß dich".encode()], False, name="greeting")
    motto = tf.Variable(b"fly\x00", False, name="motto")

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def call(texts: tf.Tensor) -> dict[str, tf.Tensor]:
        ids = module.table.lookup(texts)
        return {"embedding": tf.gather(rows, ids), "greeting": tf.gather(greeting, ids % 3)}

    module.__call__, module.variables, module.trainable_variables = call, [rows, greeting, motto], [rows]
    folder = _save(module, tmp_path_factory.mktemp("vocabulary"))
    file.unlink()
    return folder


@pytest.fixture(scope="session")
def ragged_mean(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Ragged rows (batch, words) to the rows doubled, and their means times a trainable weight."""
    module = tf.train.Checkpoint()
    weight = tf.Variable(1.0, name="weight")

    @tf.function(input_signature=[tf.RaggedTensorSpec([None, None], tf.float32)])
    def call(rows: tf.RaggedTensor) -> dict[str, object]:
        return {"doubled": rows * 2.0, "mean": tf.reduce_mean(rows, axis=1, keepdims=True) * weight}

    module.__call__, module.variables, module.trainable_variables = call, [weight], [weight]
    return _save(module, tmp_path_factory.mktemp("ragged_mean"))


@pytest.fixture(scope="session")
def stacked(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two blocks, "stem" and "top", each a matrix with bias, batch norm of momentum 0.5, and dropout of rate 0.5."""
    module = tf.train.Checkpoint()
    trainable, statistics = [], []
    for block in ("stem", "top"):
        trainable.append(tf.Variable(tf.eye(4) - 0.2, name=f"{block}/kernel"))
        trainable.append(tf.Variable(tf.zeros([4]), name=f"{block}/bias"))
        trainable.append(tf.Variable(tf.ones([4]), name=f"{block}/bn/gamma"))
        statistics.append(tf.Variable(tf.zeros([4]), False, name=f"{block}/bn/moving_mean"))

    @tf.function
    def call(inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        x = inputs
        for place, mean in enumerate(statistics):
            kernel, bias, gamma = trainable[3 * place : 3 * place + 3]
            x = tf.nn.relu(x @ kernel + bias)
            batch_mean = tf.reduce_mean(x, axis=0)
            if training:
                mean.assign(0.5 * mean + 0.5 * batch_mean)
            x = gamma * (x - (batch_mean if training else mean))
            x = tf.nn.dropout(x, 0.5) if training else x
        return x

    for training in (True, False):
        call.get_concrete_function(tf.TensorSpec([None, 4], tf.float32), training=training)
    module.__call__ = call
    module.variables, module.trainable_variables = [*trainable, *statistics], trainable
    return _save(module, tmp_path_factory.mktemp("stacked"))
