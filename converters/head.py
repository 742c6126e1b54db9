"""A head in the graph: from what the network sees to one score per label, in builtin float operators.

It reads x: pooled inner maps (``converters.inner``) or, where it names none, the embedding. Label k has the logit
L_k = W_k · h + b_k, where h is x itself or, with a hidden layer, max(0, V · x + c), and the margin

    m_k = L_k - log(sum over j != k of exp(L_j)),

the log-odds of k against all others. For one label, ``ensemble_label``, some of these may be *neutral* and not count:
who hears an explosion has not heard that it was no shot. The same label may also get what the backbone already knows:
m_k + gain * max over its classes of their logits + offset, by the classifier's own rows. The score is
sigmoid(m_k / scale): wide, so that scores near 1 stay apart. A float32 softmax ties there.

How the margin keeps its resolution: p = softmax(L) alone ties near 1, but q_k, the sum of the *other* p_j, does
not, because small positive numbers add up without cancellation. m_k = log p_k - log q_k, to 1e-6 of its size,
within ±69 (where 1e-30 is added so that no logarithm is infinite).
"""

import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from converters import flatbuffer, hidden_layer
from converters.flatbuffer import GraphError, Operator
from converters.inner import append_pooled, reading_width
from converters.yamnet import Cut

_TINY = 1e-30


@dataclass(frozen=True)
class Head:
    """Weights of a head. ``ensemble_rows`` are the backbone's classes that join in; empty for none."""

    weights: NDArray[np.float32]
    """float32 [K, F], F values that are read; with a hidden layer [K, H]."""
    biases: NDArray[np.float32]
    """float32 [K]."""
    scale: float
    ensemble_label: int = 0
    ensemble_rows: tuple[int, ...] = ()
    ensemble_gain: float = 1.0
    ensemble_offset: float = 0.0
    neutral: tuple[int, ...] = ()
    """Labels that are no rivals of ``ensemble_label``."""
    maps: tuple[int, ...] = ()
    """Inner maps that are read; none for the embedding. With maps there are no ``ensemble_rows``."""
    hidden_weights: NDArray[np.float32] | None = None
    """float32 [H, F]; None without a hidden layer. The graph keeps whole numbers as int8 (``in_steps`` makes them) and
    computes with them, and keeps 16 bits of others."""
    hidden_biases: NDArray[np.float32] | None = None
    """float32 [H]."""

    @property
    def reads(self) -> int:
        """F, the values that it reads."""
        return int((self.weights if self.hidden_weights is None else self.hidden_weights).shape[1])


def append_head(backbone: Cut, head: Head) -> None:
    """Add output ``scores`` float32 [1, K] in front of the graph's other outputs.

    Raises:
        GraphError: the head is for embeddings of another width, or wants a class that the backbone does not have.
    """
    if head.reads != (width := reading_width(backbone, head.maps)):
        raise GraphError(
            f"the head is for embeddings of {head.reads} values, this backbone gives {width}; train a head on this one"
        )
    if head.maps and head.ensemble_rows:
        raise GraphError("a head on inner maps takes no share of the backbone's own classes")
    if head.ensemble_rows and max(head.ensemble_rows) >= len(backbone.class_biases):
        raise GraphError(
            f"the head wants class {max(head.ensemble_rows)}, this backbone has {len(backbone.class_biases)} classes"
        )
    model = backbone.model
    graph = model.subgraphs[0]
    labels = len(head.biases)
    eye = np.eye(labels, dtype=np.float32)

    def dense(name: str, source: int, weights: NDArray[np.float32], biases: NDArray[np.float32] | None = None) -> int:
        inputs = [source, flatbuffer.add_tensor(model, f"head/{name}/weights", weights.shape, weights)]
        if biases is not None:
            inputs.append(flatbuffer.add_tensor(model, f"head/{name}/biases", biases.shape, biases))
        else:
            inputs.append(-1)
        result = flatbuffer.add_tensor(model, f"head/{name}", [1, len(weights)])
        flatbuffer.add_operator(model, Operator.FULLY_CONNECTED, inputs, [result], schema.FullyConnectedOptionsT())
        return result

    def apply(name: str, code: int, inputs: list[int], width: int, options: object = None) -> int:
        result = flatbuffer.add_tensor(model, name, [1, width])
        flatbuffer.add_operator(model, code, inputs, [result], options)
        return result

    pooled = append_pooled(backbone, head.maps)
    parts = [one.tensor for one in pooled] or [backbone.embedding]
    if head.hidden_weights is not None and head.hidden_biases is not None:
        read = hidden_layer.append(model, parts, _small(head.hidden_weights), head.hidden_biases)
    else:
        read = hidden_layer.joined(model, parts)
    logits = dense("logits", read, head.weights, head.biases)
    softmax = schema.SoftmaxOptionsT()
    softmax.beta = 1.0
    shares = apply("head/shares", Operator.SOFTMAX, [logits], labels, softmax)
    own_and_others = dense(
        "own_and_others", shares, np.concatenate([eye, _rivals(head)]), np.full(2 * labels, _TINY, np.float32)
    )
    logarithms = apply("head/logarithms", Operator.LOG, [own_and_others], 2 * labels)
    scaled = dense("margins", logarithms, (np.concatenate([eye, -eye], axis=1) / head.scale).astype(np.float32))
    if head.ensemble_rows:
        rows = list(head.ensemble_rows)
        classes = dense("classes", backbone.embedding, backbone.class_weights[rows], backbone.class_biases[rows])
        axis = flatbuffer.add_tensor(model, "head/axis", [1], np.array([1], np.int32))
        reduce = schema.ReducerOptionsT()
        reduce.keepDims = True
        highest = apply("head/highest", Operator.REDUCE_MAX, [classes, axis], 1, reduce)
        share = np.zeros((labels, 1), np.float32)
        share[head.ensemble_label] = head.ensemble_gain / head.scale
        shift = np.zeros(labels, np.float32)
        shift[head.ensemble_label] = head.ensemble_offset / head.scale
        known = dense("known", highest, share, shift)
        scaled = apply("head/sum", Operator.ADD, [scaled, known], labels, schema.AddOptionsT())
    scores = apply("scores", Operator.LOGISTIC, [scaled], labels)
    graph.outputs = [scores, *graph.outputs]


def in_steps(head: Head) -> Head:
    """Nearly the same head, its hidden weights whole numbers from -127 to 127, which the graph keeps in a byte each.

    Each row is divided by a positive step and rounded; as max(0, s * z) = s * max(0, z), the step moves on into the
    columns of ``weights``.
    """
    if head.hidden_weights is None or head.hidden_biases is None:
        return head
    largest = np.abs(head.hidden_weights).max(axis=1).astype(np.float64)
    step = np.where(largest > 0, largest, 127) / 127
    return replace(
        head,
        weights=(head.weights * step).astype(np.float32),
        hidden_weights=np.rint(head.hidden_weights / step[:, None]).astype(np.float32),
        hidden_biases=(head.hidden_biases / step).astype(np.float32),
    )


def _small(values: NDArray[np.float32]) -> NDArray[Any]:
    whole = np.abs(values).max(initial=0) <= 127 and bool((values == np.rint(values)).all())
    return values.astype(np.int8 if whole else np.float16)


def _rivals(head: Head) -> NDArray[np.float32]:
    """What counts against each label: float32 [K, K], 1 where it does."""
    rivals = 1 - np.eye(len(head.biases), dtype=np.float32)
    rivals[head.ensemble_label, list(head.neutral)] = 0
    return np.asarray(rivals, np.float32)


def head_of(backbone: Cut) -> Head:
    """The head that ``append_head`` had put into this graph, which was ``cut`` but not packed since.

    Raises:
        GraphError: there is none, or one of another kind.
    """
    model = backbone.model
    named = {tensor.name.decode(): tensor for tensor in model.subgraphs[0].tensors}

    def values(name: str) -> NDArray[np.float32]:
        if f"head/{name}" not in named:
            raise GraphError(f"the graph holds no head/{name}: it has no head that this version knows")
        return flatbuffer.constant(model, named[f"head/{name}"], "<f4")

    weights, biases = values("logits/weights"), values("logits/biases")
    scale = 1 / float(values("margins/weights")[0, 0])
    inner: dict[str, Any] = {"maps": tuple(int(n.split("/")[1]) for n in named if re.fullmatch(r"inner/\d+/mean", n))}
    if (hidden := hidden_layer.weights_of(model, named)) is not None:
        inner |= {"hidden_weights": hidden, "hidden_biases": values("hidden/biases")}
    rivals = values("own_and_others/weights")[len(biases) :] + np.eye(len(biases), dtype=np.float32)
    lenient = int(rivals.sum(axis=1).argmin())
    inner["neutral"] = tuple(int(k) for k in np.flatnonzero(rivals[lenient] == 0))
    if "head/known/weights" not in named:
        return Head(weights, biases, scale, lenient, **inner)
    share = values("known/weights")[:, 0]
    label = int(np.argmax(np.abs(share)))
    rows = []
    for row in values("classes/weights"):
        same = np.flatnonzero((backbone.class_weights == row).all(axis=1))
        if len(same) != 1:
            raise GraphError("the head reads a class of the backbone that is not among the graph's own")
        rows.append(int(same[0]))
    offset = float(values("known/biases")[label])
    return Head(weights, biases, scale, label, tuple(rows), float(share[label]) * scale, offset * scale, **inner)


def head_scores(backbone: Cut, head: Head, read: NDArray[np.float32]) -> NDArray[np.float64]:
    """What the graph computes, in float64: scores [n, K] of what was read [n, F]. For training and for parity."""
    margins = head_margins(backbone, head, read)
    return 1 / (1 + np.exp(-margins / head.scale))


def head_margins(backbone: Cut, head: Head, read: NDArray[np.float32]) -> NDArray[np.float64]:
    """Margins [n, K] before the sigmoid, float64, the backbone's share included; ``read`` is [n, F]."""
    vectors = read.astype(np.float64)
    inner = vectors
    if head.hidden_weights is not None and head.hidden_biases is not None:
        kept = _small(head.hidden_weights).astype(np.float64)
        inner = np.maximum(vectors @ kept.T + head.hidden_biases, 0)
    logits = inner @ head.weights.T.astype(np.float64) + head.biases
    margins = np.empty_like(logits)
    for k, rivals in enumerate(_rivals(head).astype(bool)):
        others = logits[:, rivals]
        highest = others.max(axis=1, keepdims=True)
        margins[:, k] = logits[:, k] - highest[:, 0] - np.log(np.exp(others - highest).sum(axis=1))
    if head.ensemble_rows:
        rows = list(head.ensemble_rows)
        classes = vectors @ backbone.class_weights[rows].T.astype(np.float64) + backbone.class_biases[rows]
        margins[:, head.ensemble_label] += head.ensemble_gain * classes.max(axis=1) + head.ensemble_offset
    return margins
