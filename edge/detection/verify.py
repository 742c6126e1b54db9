"""Whether a model file may be trusted: its digest, its front end, and its golden vectors, in a child process.

    verify(Path("model.tflite"))           # returns its SHA-256 or raises ModelFileError

Golden vectors alone miss most damage, and a digest says nothing about this machine's kernels: both are asked. A file
that is not yet trusted is opened by a child with a deadline and a memory limit, because a graph is a program: one
that hangs, eats the memory or crashes the interpreter costs the child. ``cache_dir`` remembers what passed, so that
a restart listens at once.
"""

import io
import os
import platform
import resource
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import edge
from edge.audio.frontend import Window
from edge.audio.logmel import WINDOW_SAMPLES, front_end_hash, log_mel
from edge.detection.model import Model, load_bytes
from edge.detection.model_file import ModelFileError, has_manifest, parse, read_bytes

DEADLINE_S = float(os.environ.get("ECOSIGHT_VERIFY_S", "30"))
"""The variable is for machines that are emulated, and ten times slower than any board."""
MEMORY_LIMIT_BYTES = 1 << 30
"""Address space of the child; numpy and the interpreter alone map about 0.5 GB."""
MAX_VECTORS = 64
MAX_GOLDEN_BYTES = 8 << 20
_REMEMBERED = ".verified"


def verify(
    path: Path,
    cache_dir: Path | None = None,
    deadline_s: float = DEADLINE_S,
    memory_bytes: int = MEMORY_LIMIT_BYTES,
) -> str:
    """Check ``path`` in a child process, unless ``cache_dir`` remembers that these very bytes passed here.

    Returns the file's SHA-256.

    Raises:
        ModelFileError: damaged, another front end, golden vectors that do not come out, too slow, too large.
    """
    found = sha256(read_bytes(path)).hexdigest()
    remembered = _remembered(cache_dir)
    mark = f"{found} {_this_runtime()}"
    if mark in remembered:
        return found
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "edge.detection.verify", str(path), found, str(memory_bytes)]
    try:
        child = subprocess.run(
            command, capture_output=True, timeout=deadline_s, check=False, env=environment, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as error:
        raise ModelFileError(f"{path} did not pass its checks within {deadline_s:g} s") from error
    except OSError as error:
        raise ModelFileError(f"cannot start the check of {path}: {error}") from error
    lines = child.stdout.decode(errors="replace").splitlines()
    if child.returncode == 0 and lines and lines[-1] == "good":
        _remember(cache_dir, [*remembered, mark])
        return found
    if child.returncode == 1 and lines:
        raise ModelFileError(lines[-1])
    died = f"signal {-child.returncode}" if child.returncode < 0 else f"exit code {child.returncode}"
    raise ModelFileError(f"{path} broke the interpreter that checked it ({died}); fetch it again")


def check(data: bytes, name: str = "model") -> Model:
    """Everything that ``verify`` checks, in this process; the model. Raises ModelFileError."""
    model = load_bytes(data, name)
    if not has_manifest(data):
        _check_runs(model, name)
        return model
    golden = parse(data, name).golden
    if golden is None:
        raise ModelFileError(f"{name} holds no golden vectors")
    vectors = read_golden(golden, name)
    waveforms = vectors["waveform"].astype(np.float32) / 32768
    for number, waveform in enumerate(waveforms):
        scores = model.score(Window(0, log_mel(waveform), waveform, len(waveform)))
        for kind, got in (("scores", scores.labels), ("context", scores.context)):
            wanted = vectors[kind][number]
            if wanted.shape != got.shape:
                raise ModelFileError(f"{name}: golden vector {number} gives {got.shape} {kind}, not {wanted.shape}")
            worst = float(np.abs(wanted - got).max(initial=0.0))
            if not worst <= float(vectors["tolerance"]):
                raise ModelFileError(
                    f"{name}: golden vector {number} is off by {worst:.3g} in {kind} (tolerance "
                    f"{float(vectors['tolerance']):.3g}): this machine's interpreter computes something else"
                )
    return model


def read_golden(content: bytes, name: str = "model") -> dict[str, NDArray[np.generic]]:
    """The arrays of ``golden.npz``: ``waveform`` int16 [n, 15600] at 16 kHz, ``scores`` float32 [n, K], ``context``
    float32 [n, C], ``tolerance`` float32 []. Nothing is unpickled. Raises ModelFileError."""
    import zipfile

    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(one.file_size for one in archive.infolist()) > MAX_GOLDEN_BYTES:
                raise ModelFileError(f"{name}: golden vectors are larger than {MAX_GOLDEN_BYTES} bytes")
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            vectors: dict[str, NDArray[np.generic]] = {
                key: file[key] for key in ("waveform", "scores", "context", "tolerance")
            }
    except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile, NotImplementedError) as error:
        raise ModelFileError(f"{name}: golden vectors cannot be read: {error}") from error
    count = len(vectors["waveform"]) if vectors["waveform"].ndim == 2 else 0
    good = (
        1 <= count <= MAX_VECTORS
        and vectors["waveform"].shape == (count, WINDOW_SAMPLES)
        and vectors["waveform"].dtype == np.int16
        and all(vectors[key].ndim == 2 and len(vectors[key]) == count for key in ("scores", "context"))
        and all(vectors[key].dtype == np.float32 for key in ("scores", "context", "tolerance"))
        and vectors["tolerance"].ndim == 0
        and 0 <= float(vectors["tolerance"]) <= 0.5
    )
    if not good:
        raise ModelFileError(f"{name}: golden vectors have wrong shapes or types")
    return vectors


def _check_runs(model: Model, name: str) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, WINDOW_SAMPLES).astype(np.float32)
    scores = model.score(Window(0, log_mel(noise), noise, len(noise)))
    for values in (scores.labels, scores.context):
        if not bool(np.all((values >= 0) & (values <= 1))):
            raise ModelFileError(f"{name}: scores are not between 0 and 1")


def _this_runtime() -> str:
    return f"{platform.machine()} {edge.__version__} {front_end_hash()[:16]}"


def _remembered(cache_dir: Path | None) -> list[str]:
    if cache_dir is None:
        return []
    try:
        return (cache_dir / _REMEMBERED).read_text(encoding="utf-8").splitlines()[-8:]
    except (OSError, UnicodeDecodeError):
        return []


def _remember(cache_dir: Path | None, marks: list[str]) -> None:
    if cache_dir is None:
        return
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        temporary = cache_dir / f"{_REMEMBERED}.{os.getpid()}"
        temporary.write_text("\n".join(marks[-8:]) + "\n", encoding="utf-8")
        temporary.replace(cache_dir / _REMEMBERED)
    except OSError:
        pass  # on a full or read-only disk the next start checks again


def limit_this_process(memory_bytes: int = MEMORY_LIMIT_BYTES) -> None:
    """Before a file that is not trusted is opened: no more address space than that, and no core file of it."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))


def _child(path: Path, expected: str, memory_bytes: int) -> int:
    limit_this_process(memory_bytes)
    try:
        data = read_bytes(path)
        if sha256(data).hexdigest() != expected:
            raise ModelFileError(f"{path} changed while it was checked")
        check(data, str(path))
    except ModelFileError as error:
        print(" ".join(str(error).split()))
        return 1
    except MemoryError:
        print(f"{path} needs more than {memory_bytes} bytes of memory")
        return 1
    print("good")
    return 0


if __name__ == "__main__":
    sys.exit(_child(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
