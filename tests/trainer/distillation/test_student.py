"""The student, and what leaves PyTorch: the same network in plain numbers, in int8, in a backbone's file."""

import numpy as np
import pytest

from converters.backbone_file import open_backbone
from converters.int8_network import float_network
from edge.detection.graph import Graph
from trainer.distillation.export import backbone_of_network, parity
from trainer.learning.reading import MAPS, reading_of

torch = pytest.importorskip("torch", reason="the deep extra is not installed")

PATCHES = np.random.default_rng(3).normal(-3, 2, (40, 96, 64)).clip(-6.9, 4).astype(np.float32)


@pytest.fixture(scope="module")
def student():  # type: ignore[no-untyped-def]
    from trainer.distillation.student import Student

    torch.set_num_threads(1)
    torch.manual_seed(1)
    made = Student(0.25, 5, MAPS).train()
    with torch.no_grad():
        for _ in range(10):  # so that the batch norms have something to fold
            made(torch.from_numpy(PATCHES))
    return made.eval()


def test_the_network_in_plain_numbers_gives_what_the_student_gives(student) -> None:  # type: ignore[no-untyped-def]
    graph = Graph(float_network(student.network(), every_output=True))
    with torch.no_grad():
        embedding, *maps = student(torch.from_numpy(PATCHES[:4]))
    for row in range(4):
        graph.feed(PATCHES[row : row + 1])
        assert graph.output("embedding") == pytest.approx(embedding[row].numpy(), abs=1e-3)
        for number, one in zip(MAPS, maps, strict=True):
            wanted = one[row].permute(1, 2, 0).reshape(-1).numpy()
            assert graph.output(f"layer{2 * number}").reshape(-1) == pytest.approx(wanted, abs=2e-3)


def test_its_backbone_keeps_what_it_learned_and_a_head_can_read_it(student) -> None:  # type: ignore[no-untyped-def]
    classes = ["Speech", "Rain", "Gunshot, gunfire", "Dog", "Wind"]
    content = backbone_of_network(student.network(), classes, PATCHES)
    found = parity(student.network(), content, PATCHES)
    assert found.embedding_correlation > 0.9
    assert list(open_backbone(content).classes) == classes
    assert reading_of(content).steps.width == 2 * 2 * 128
