"""In what numbers a crop model runs on which device, and whether it is compiled. One road for all devices.

Only the backbone and the linking layer ever run in 16 bits; the positions of crops, the sampling, the field, the
head's product and all decoding are float32 everywhere (docs/nlf.md 13, 14.14).

On CUDA *auto* is fp16, not bf16: the official releases run in it, so their activations are known to fit, and its
steps are eight times finer. With the random weights of tests/golden, which amplify, 2D points of the S model move by
0.14 px in the median in fp16, by 0.9 px in bf16. bf16 is for weights that overflow in fp16, and for processors with
bf16 units, where it is two to three times as fast as float32. On MPS *auto* is fp32.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch

from backend.errors import JobError
from backend.localizers.nlf.crop_model import CropModel
from backend.localizers.nlf.folding import fold

PRECISIONS = ("auto", "fp32", "bf16", "fp16")
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_TENSOR_CORES = (7, 0)
"""CUDA capability from which fp16 is faster than float32."""

Note = Callable[[str], None]


def _silent(_: str) -> None:
    """Nobody wants to know."""


def precision(device: torch.device | str, wanted: str = "auto", note: Note = _silent) -> torch.dtype:
    """Numbers for backbone and linking layer. `note` gets a sentence where `wanted` cannot be had.

    JobError("bad_options") for a word that is not in PRECISIONS.
    """
    device = torch.device(device)
    if wanted not in PRECISIONS:
        raise JobError(
            "bad_options", f"There is no precision '{wanted}': choose one of {', '.join(PRECISIONS)}."
        )
    if wanted == "auto":
        fast = device.type == "cuda" and torch.cuda.get_device_capability(device) >= _TENSOR_CORES
        wanted = "fp16" if fast else "fp32"
    if wanted == "fp16" and device.type == "cpu":
        note(
            "A processor is up to a hundred times slower in fp16, so fp32 is used; bf16 is the faster choice there."
        )
        wanted = "fp32"
    if wanted == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported(False):
        note("This graphics card does not know bf16, so fp16 is used.")
        wanted = "fp16"
    return _DTYPES[wanted]


def prepare_model(
    model: CropModel,
    device: torch.device | str,
    wanted: str = "auto",
    *,
    compile_it: bool = False,
    note: Note = _silent,
) -> CropModel:
    """`model` with its weights loaded -> on `device`, for use and no longer for training (see `fold`).

    `wanted`: one of PRECISIONS; `compile_it`: through torch.compile, which takes minutes once. Where one of the two
    does not work, `note` gets a sentence and the model runs in float32 or as it is.
    """
    dtype = precision(device, wanted, note)
    if dtype == torch.float32 and torch.device(device).type == "cuda":
        # By default torch cuts the factors of convolutions to 10 bits, and then fp32 would be fp16.
        torch.backends.cudnn.allow_tf32 = False
    model = fold(model.eval().to(device))
    if dtype != torch.float32:
        half = copy.deepcopy(model).set_precision(dtype)
        if _works(half):
            model = half
        else:
            note(f"This device gives no valid numbers in {_name(dtype)}, so fp32 is used.")
    return compiled(model, note) if compile_it else model


def compiled(model: CropModel, note: Note = _silent) -> CropModel:
    """The same model, its backbone through torch.compile; uncompiled, with one sentence to `note`, where that fails.

    Compiles here and now, for any number of crops.
    """
    try:
        model.backbone.compile(dynamic=True)
        # One crop and several are two programs.
        for crops in (1, 2):
            _run(model, crops)
    except Exception as error:
        # Compilers fail in many ways, and no job should end for that.
        model.backbone._compiled_call_impl = None
        reason = str(error).strip().splitlines() or [type(error).__name__]
        note(f"The network could not be compiled and runs as it is: {reason[0]}")
    return model


@torch.no_grad()
def _run(model: CropModel, crops: int = 1) -> torch.Tensor:
    """Linking layer's output for a picture of noise."""
    weight = next(model.backbone.parameters())
    noise = torch.rand(crops, 3, model.side, model.side, generator=torch.Generator().manual_seed(0))
    return model.heatmap_head.layer(model.features(noise.to(weight.device, weight.dtype)))


def _works(model: CropModel) -> bool:
    """Some cards (GTX 16xx) give NaN in fp16, others lack a kernel."""
    try:
        return bool(_run(model).isfinite().all())
    except RuntimeError:
        return False


def _name(dtype: torch.dtype) -> str:
    return next(name for name, other in _DTYPES.items() if other == dtype)
