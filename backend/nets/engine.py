"""Frozen networks at work: on the processor through ONNX Runtime, elsewhere, and as the reference, through PyTorch.

ONNX Runtime needs about 0.6 of PyTorch's time on a processor and gives the same answers; of the libraries of its kind
it is there for most of the systems that we serve. `tools/make_graphs.py` writes a network's graph, without weights,
into `backend/assets/graphs`; the weights are those of the module that is given here, so that a graph serves every file
of weights of its shape.

The shipped networks take one picture at a time, on one thread: many pictures are many calls side by side (`hands`). So
every number is the same to the last bit, however many cores there are and whoever is in the picture beside.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from backend.errors import JobError

TORCH, RUNTIME = "torch", "onnxruntime"
ENGINES = ("auto", TORCH, RUNTIME)
GRAPHS = Path(__file__).resolve().parents[1] / "assets" / "graphs"
KNOWN = (
    "nanodet",
    "blazepose_detector",
    "blazepose_lite",
    "blazepose_full",
    "blazepose_heavy",
    "field",
    "field_heads",
    "nlf_s",
    "nlf_l",
)
"""Every graph that is shipped."""
OPSET = 17
"""Of the graphs; every ONNX Runtime since 1.12 knows it."""


class Engine(Protocol):
    """A network that is ready to run."""

    name: str
    """`TORCH` or `RUNTIME`."""
    batch: int
    """How many pictures are best given at once."""

    def run(self, pictures: np.ndarray) -> tuple[Tensor, ...]:
        """`pictures`: (B, S, S, 3) uint8 RGB -> what the network's module gives for them, on the engine's device."""
        ...


class Eager:
    """`module` in PyTorch on `device`, all pictures at once."""

    name = TORCH

    def __init__(self, module: nn.Module, device: str | torch.device) -> None:
        self.device = torch.device(device)
        self.batch = 8 if self.device.type == "cpu" else 64
        # Channels-last is the layout that oneDNN and cuDNN run depthwise convolutions fastest in.
        self._module = module.to(self.device, memory_format=torch.channels_last).eval()

    @torch.inference_mode()
    def run(self, pictures: np.ndarray) -> tuple[Tensor, ...]:
        """See `Engine.run`."""
        return self._module(torch.from_numpy(np.ascontiguousarray(pictures)).to(self.device))


class Runtime:
    """`module` in ONNX Runtime, by the graph that is called `graph`; several threads may call it at a time.

    `threads`: of each call.
    """

    name, batch = RUNTIME, 1

    def __init__(self, graph: str, module: nn.Module, threads: int = 1) -> None:
        import onnxruntime

        _keep_quiet()
        wanted = list(description(graph)["weights"])
        # In this layout the arrays below are the module's own, and no copies.
        state = module.to(memory_format=torch.contiguous_format).state_dict()
        # ONNX Runtime reads from these very arrays, as long as it runs.
        self._weights = [state[name].float().cpu().contiguous().numpy() for name in wanted]
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in self._weights]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        # No stock of memory: it would be kept for the largest picture ever, and is no faster.
        options.enable_cpu_mem_arena = False
        options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
        options.add_external_initializers(wanted, values)
        path = GRAPHS / f"{graph}.onnx"
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        # Its errors have no common class of their own.
        except Exception as error:
            text = f"The graph {path.name} is missing or damaged: get the project's files again."
            raise JobError("bad_weights", text) from error
        self._values = values
        self._inputs = [i.name for i in self._session.get_inputs()]

    def run(self, pictures: np.ndarray) -> tuple[Tensor, ...]:
        """See `Engine.run`."""
        rows = [self.call(pictures[i : i + 1]) for i in range(len(pictures))]
        if len(rows) == 1:
            return tuple(torch.from_numpy(a) for a in rows[0])
        return tuple(torch.from_numpy(np.concatenate(column)) for column in zip(*rows, strict=True))

    def call(self, *inputs: np.ndarray) -> list[np.ndarray]:
        """The graph once, with its inputs as they are."""
        return self._session.run(None, dict(zip(self._inputs, inputs, strict=True)))


def create_engine(
    graph: str, module: nn.Module, device: str | torch.device = "cpu", wanted: str = "auto"
) -> Engine:
    """`module` by the engine that `choose_engine` names."""
    if choose_engine(device, wanted) == TORCH:
        return Eager(module, device)
    if fits(graph, module):
        return Runtime(graph, module)
    if wanted == RUNTIME:
        text = f"There is no graph for these weights, so {RUNTIME} cannot run them: leave the engine out."
        raise JobError("bad_options", text)
    return Eager(module, device)


def choose_engine(device: str | torch.device = "cpu", wanted: str = "auto") -> str:
    """`RUNTIME` on a processor where it is installed, else `TORCH`. Raises JobError("bad_options") for one that is not
    there, or cannot run on `device`."""
    if wanted not in ENGINES:
        raise JobError("bad_options", f"There is no engine '{wanted}': choose one of {', '.join(ENGINES)}.")
    possible = torch.device(device).type == "cpu" and is_installed()
    if wanted == RUNTIME and not possible:
        why = (
            "is not there: press Set Up Backend, or run 'python install.py setup'"
            if not is_installed()
            else "runs on the processor only: choose the device cpu"
        )
        raise JobError("bad_options", f"The engine {RUNTIME} {why}.")
    return RUNTIME if possible and wanted != TORCH else TORCH


@cache
def is_installed() -> bool:
    """Whether ONNX Runtime is there and can be loaded; on Windows it may lack a library of the system's."""
    try:
        import onnxruntime
    except (ImportError, OSError):
        return False
    return bool(onnxruntime.__version__)


def fits(graph: str, module: nn.Module) -> bool:
    """Whether the graph was made of a module of this shape: a network that somebody trained may have another one."""
    state = module.state_dict()
    shapes: dict[str, list[int]] = description(graph)["weights"]
    return all(name in state and list(state[name].shape) == shape for name, shape in shapes.items())


@cache
def description(graph: str) -> dict[str, Any]:
    """What `tools/make_graphs.py` says of a graph: `weights`, the names in the module's state with their shapes."""
    try:
        return json.loads((GRAPHS / f"{graph}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        text = f"The graph {graph}.json is missing or damaged: get the project's files again."
        raise JobError("bad_weights", text) from error


@cache
def _keep_quiet() -> None:
    """Nothing is sent from here: the builds for Windows report their use to the system unless told otherwise."""
    import onnxruntime

    onnxruntime.disable_telemetry_events()
