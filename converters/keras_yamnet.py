"""YAMNet as a Keras 3 model on PyTorch, of any width: to fine-tune, and to export in every format that Keras knows.

    model = keras_model(from_tflite(content))        # Google's weights (converters.yamnet_weights)
    model = keras_model(random_start(0.5, 521, 1))   # half the channels, from scratch (converters.network)
    ...                                              # fine-tune it
    network = network_of(model)                      # back to plain numbers: converters.int8_network

Layer names are those of yamnet/yamnet.py (tensorflow/models, research/audioset). Input ``patch`` float32
[n, 96, 64]; outputs ``embedding`` [n, D] and, with classes, ``context`` [n, classes], their scores.
"""

from typing import Any

import numpy as np

from converters.extras import needed
from converters.flatbuffer import GraphError
from converters.network import Activation, Layer, Network, folded, without_classifier
from edge.audio.logmel import MEL_BANDS, PATCH_FRAMES

EPSILON = 1e-4
"""``batchnorm_epsilon`` in yamnet/params.py."""


def keras_model(network: Network, with_batch_norms: bool = False) -> Any:
    """A ``keras.Model`` with the weights of ``network``.

    ``with_batch_norms``: each convolution gets one in the place of its bias, at first without any effect of its own.
    Learning from scratch needs them; a careful fine-tuning of folded weights does not.

    Raises:
        MissingExtraError: no Keras here.
    """
    keras = needed("keras")
    patch = keras.Input((PATCH_FRAMES, MEL_BANDS), name="patch")
    value = keras.layers.Reshape((PATCH_FRAMES, MEL_BANDS, 1), name="image")(patch)
    names = layer_names(len(network.layers))
    for name, layer in zip(names, network.layers, strict=True):
        options = {"strides": layer.stride, "padding": "same", "use_bias": not with_batch_norms, "name": _safe(name)}
        if layer.kind == "conv":
            size = layer.weights.shape[1:3]
            value = keras.layers.Conv2D(layer.outputs, size, **options)(value)
        else:
            value = keras.layers.DepthwiseConv2D(layer.weights.shape[:2], **options)(value)
        if with_batch_norms:
            value = keras.layers.BatchNormalization(epsilon=EPSILON, name=_safe(f"{name}/bn"))(value)
        if layer.activation != "none":
            end = 6.0 if layer.activation == "relu6" else None
            value = keras.layers.ReLU(max_value=end, name=_safe(f"{name}/relu"))(value)
    embedding = keras.layers.GlobalAveragePooling2D(name="embedding")(value)
    outputs = {"embedding": embedding}
    if len(network.class_biases):
        dense = keras.layers.Dense(len(network.class_biases), activation="sigmoid", name="context")
        outputs["context"] = dense(embedding)
    model = keras.Model(patch, outputs, name="yamnet")
    for name, layer in zip(names, network.layers, strict=True):
        kernel = layer.weights.transpose(1, 2, 3, 0) if layer.kind == "conv" else layer.weights[..., np.newaxis]
        target = model.get_layer(_safe(name))
        if with_batch_norms:
            target.set_weights([kernel])
            ones = np.ones(layer.outputs, np.float32)
            norm = model.get_layer(_safe(f"{name}/bn"))
            norm.set_weights([ones, layer.biases, 0 * ones, (1 - EPSILON) * ones])
        else:
            target.set_weights([kernel, layer.biases])
    if len(network.class_biases):
        model.get_layer("context").set_weights([network.class_weights.T, network.class_biases])
    return model


def network_of(model: Any) -> Network:
    """The weights of such a model, batch norms folded in. Raises GraphError where it has another shape."""
    named = {layer.name: layer for layer in model.layers}
    layers = []
    for layer in model.layers:
        kind = type(layer).__name__
        if kind not in ("Conv2D", "DepthwiseConv2D"):
            continue
        weights = [np.asarray(one, np.float32) for one in layer.get_weights()]
        kernel = weights[0].transpose(3, 0, 1, 2) if kind == "Conv2D" else weights[0][..., 0]
        kernel = np.ascontiguousarray(kernel)
        biases = weights[1] if len(weights) > 1 else np.zeros(layer.output.shape[-1], np.float32)
        activation = _activation(named.get(f"{layer.name}_relu"))
        shape: Any = "conv" if kind == "Conv2D" else "depthwise"
        norm = named.get(f"{layer.name}_bn")
        if layer.padding != "same" or layer.strides[0] != layer.strides[1]:
            raise GraphError(f"layer {layer.name} is padded or strided otherwise than in YAMNet")
        stride = int(layer.strides[0])
        if norm is None:
            layers.append(Layer(shape, kernel, biases, stride, activation))
        else:
            scale, offset, mean, variance = (np.asarray(one, np.float32) for one in norm.get_weights())
            layers.append(
                folded(shape, kernel, scale, offset, mean - biases, variance, norm.epsilon, stride, activation)
            )
    if not layers:
        raise GraphError("this Keras model has no convolutions: it is not of YAMNet's shape")
    if "context" not in named:
        return without_classifier(layers)
    kernel, biases = (np.asarray(one, np.float32) for one in named["context"].get_weights())
    return Network(tuple(layers), np.ascontiguousarray(kernel.T), biases)


def layer_names(count: int) -> list[str]:
    """Names of yamnet/yamnet.py for a first convolution and pairs of depthwise and pointwise."""
    pairs = [f"layer{n}/{kind}_conv" for n in range(2, 2 + count // 2) for kind in ("depthwise", "pointwise")]
    return ["layer1/conv", *pairs][:count]


def _safe(name: str) -> str:
    # Keras 3 takes no slashes in names.
    return name.replace("/", "_")


def _activation(layer: Any) -> Activation:
    if layer is None:
        return "none"
    if layer.max_value is None:
        return "relu"
    if float(layer.max_value) != 6.0:
        raise GraphError(f"layer {layer.name} ends at {layer.max_value}; the int8 kernels know relu and relu6")
    return "relu6"
