"""A fine-tune as a pure generator of events from one picklable job: Gram-anchored, or without an anchor.

Knows nothing of threads, pages or files: whoever consumes the events shows, saves or stops, and the same function
runs in a thread, in a forked process or on another machine. Between two events lies at most about one step.

Letters: N images of S x S pixels, H x W the watched picture on its grid of h x w patches, d feature width.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gramviz.errors import ConfigError
from gramviz.gram.losses import gram_loss
from gramviz.training.config import TrainConfig
from gramviz.training.loop import StepReport, train
from gramviz.training.objective import gram_targets
from gramviz.training.state import TrainState, load_tensors, new_state, to_tensors
from gramviz.vit.backbones import DenseBackbone, backbone_of, create_backbone

TUNED, CONTROL = "tuned", "control"
# Steps whose mean loss is held against that of the first ones; how many times as large it may become; up to which the
# weights count as good; and what is taken for the first ones at least, a weight of 1 (Gram losses lie in 0..4).
WINDOW, RUNAWAY, GOOD, FLOOR = 5, 4.0, 1.5, 0.05

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Trained:
    """Which weights of the backbone train: "all", "blocks" (the last `blocks` ones and the final norm) or "norms"
    (all norms and layer scales). Projection heads train wherever they are used.
    """

    kind: str = "all"
    blocks: int = 0

    def __post_init__(self) -> None:
        if self.kind not in ("all", "blocks", "norms"):
            raise ConfigError(f"what trains is {self.kind!r}; it must be 'all', 'blocks' or 'norms'")
        if self.kind == "blocks" and self.blocks < 1:
            raise ConfigError(f"the last {self.blocks} blocks train; it must be at least 1")

    def includes(self, name: str, depth: int) -> bool:
        """Whether a parameter of the timm network trains, by its name there."""
        parts = name.split(".")
        if self.kind == "all":
            return True
        if self.kind == "blocks":
            in_block = parts[0] == "blocks" and int(parts[1]) >= depth - self.blocks
            return in_block or parts[0] in ("norm", "fc_norm")
        return any("norm" in part or part.startswith("gamma") for part in parts)


@dataclass(frozen=True, eq=False)
class FinetuneJob:
    """All that a fine-tune needs. Tensors are on the CPU.

    config: steps, batch, learning rate, losses and crops; its Gram section has teacher_step = start = 0.
    start, teacher: weights of backbones under plain timm's names; teacher is the Gram teacher's, None for the start's
    own. heads: "dino_head.*", "ibot_head.*" and "mask_token", needed where DINO or iBOT have a weight.
    images: uint8 [N, 3, S, S]. watched: [3, H, W] in 0..1, looked at every `look_seconds` of work.
    control: also train an arm with Gram weight 0 from the same seed on the same views. seconds: of work at most.

    Raises ConfigError where the parts do not fit together.
    """

    config: TrainConfig
    start: Weights
    teacher: Weights | None
    heads: Weights | None
    images: Tensor
    watched: Tensor
    trained: Trained = Trained()
    control: bool = False
    look_seconds: float = 0.3
    save_steps: int = 50
    seconds: float = 600.0

    def __post_init__(self) -> None:
        gram = self.config.gram
        if gram.teacher_step or gram.start:
            raise ConfigError(
                "the Gram teacher is given from the start; teacher_step and start must be 0, not "
                f"{gram.teacher_step} and {gram.start}"
            )
        if not self.config.gram_alone and self.heads is None:
            raise ConfigError(
                "DINO, iBOT and KoLeo need projection heads; give them, or set their weights to 0"
            )
        if self.control and (self.config.gram_alone or gram.weight == 0):
            raise ConfigError(
                "a control arm needs another loss than Gram, and a Gram weight above 0 to differ by"
            )
        if self.images.ndim != 4 or self.images.dtype != torch.uint8 or len(self.images) == 0:
            raise ConfigError(
                f"images are {self.images.dtype} of shape {tuple(self.images.shape)}; "
                "they must be uint8 (N, 3, S, S) with N at least 1"
            )


@dataclass(frozen=True, eq=False)
class Anchor:
    """What the Gram teacher sees of the watched picture: patches [h, w, d] on the student's grid, cls [d]."""

    patches: Tensor
    cls: Tensor


@dataclass(frozen=True, eq=False)
class Look:
    """What an arm sees of the watched picture after `step` steps: patches [h, w, d], cls [d].

    gram_distance: ||X X^T - X_G X_G^T||_F^2 / P^2 to the Gram teacher on this picture, the loss of one image (DINOv3,
    arXiv 2508.10104, section 4.2, over the number of entries).
    """

    arm: str
    step: int
    patches: Tensor
    cls: Tensor
    gram_distance: float


@dataclass(frozen=True)
class Stepped:
    """An arm has finished a step."""

    arm: str
    report: StepReport


@dataclass(frozen=True, eq=False)
class Saved:
    """All that is needed to go on from here exactly, after `step` steps of every arm."""

    step: int
    tensors: Weights


@dataclass(frozen=True, eq=False)
class Ended:
    """The end. reason: "done", "stopped", "deadline" or "diverged"; sentence: the same for a reader.

    weights: of each arm's student backbone after `step` steps, under plain timm's names. The student's and not the
    EMA teacher's: over so few steps the average hardly leaves the start. Where an arm diverged, the last good ones.
    """

    reason: str
    sentence: str
    step: int
    weights: dict[str, Weights]


Event = Anchor | Look | Stepped | Saved | Ended


@dataclass(frozen=True)
class HeldImages:
    """The job's images as `loop.ImageSource`."""

    images: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: Tensor) -> Tensor:
        """See `loop.ImageSource`."""
        return self.images[indices.to(self.images.device)]


def finetune(
    job: FinetuneJob,
    device: torch.device,
    resume: Saved | None = None,
    stopped: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.perf_counter,
    saving: Callable[[], bool] = lambda: False,
) -> Iterator[Event]:
    """Run a job: Anchor first (but on resuming), then Look, Stepped and Saved in their course, Ended last.

    resume: go on from there; on a CPU the weights become those of an uninterrupted run, bit for bit. stopped: asked
    before each step; True ends it with what there is. clock: seconds; time between events does not count. saving:
    asked after each step; True is answered with a Saved, which else comes every `save_steps`. Closing the generator
    stops it at once and frees everything.
    """
    configs = {TUNED: job.config}
    if job.control:
        configs[CONTROL] = replace(job.config, gram=replace(job.config.gram, weight=0.0))
    began = clock()
    watched = job.watched[None].to(device)
    source = HeldImages(job.images.to(device))
    teacher = gram_teacher(job, device)
    anchor = anchor_of(teacher, watched, job.config.gram.resolution)
    arms = [Arm(name, job, config, device, teacher, source) for name, config in configs.items()]
    spent = 0.0
    if resume is not None:
        for arm in arms:
            arm.restore(resume)
        spent = float(resume.tensors["spent"])
    spent += clock() - began
    if resume is None:
        yield Anchor(*(one.clone() for one in anchor))
    looked = -math.inf
    while True:
        if spent - looked >= job.look_seconds or arms[0].step == job.config.steps:
            for arm in arms:
                began = clock()
                look = arm.look(watched, anchor)
                spent += clock() - began
                yield look
            looked = spent
        end = ending(job, arms, spent, stopped)
        if end is not None:
            yield end
            return
        for arm in arms:
            began = clock()
            report = arm.advance()
            spent += clock() - began
            yield Stepped(arm.name, report)
            if arm.diverged:
                yield diverged(arm, arms)
                return
        step = arms[0].step
        if step < job.config.steps and (step % job.save_steps == 0 or saving()):
            began = clock()
            tensors = {f"{arm.name}/{name}": value for arm in arms for name, value in arm.tensors().items()}
            spent += clock() - began
            yield Saved(step, {**tensors, "spent": torch.tensor(spent, dtype=torch.float64)})


class Arm:
    """One student in training. `good` are the weights and the step before the loss grew out of bounds."""

    def __init__(
        self,
        name: str,
        job: FinetuneJob,
        config: TrainConfig,
        device: torch.device,
        teacher: DenseBackbone,
        source: HeldImages,
    ) -> None:
        self.name, self.config = name, config
        self.state = start_state(job, config, device, teacher)
        self.diverged = False
        self._first: list[float] = []
        self._recent: list[float] = []
        self._good = (self.weights(), 0)
        self._steps = train(self.state, config, source, autocast=autocast_of(device))

    @property
    def step(self) -> int:
        """Steps finished."""
        return self.state.step

    @property
    def good(self) -> tuple[Weights, int]:
        """The last good weights and the step that they are of: those of now, unless it diverged."""
        return self._good if self.diverged else (self.weights(), self.step)

    def advance(self) -> StepReport:
        """One more step."""
        before = self.step
        report = next(self._steps)
        if report.step > before:
            if len(self._first) < WINDOW:
                self._first.append(report.total)
            self._recent = [*self._recent[-WINDOW + 1 :], report.total]
        level = self._level()
        self.diverged = report.step == before or level > RUNAWAY
        if self.step % WINDOW == 0 and level <= GOOD:
            self._good = (self.weights(), self.step)
        return report

    def _level(self) -> float:
        """The mean loss of late over that of the first steps."""
        if not self._recent:
            return 1.0
        loss, gram = self.config.loss, self.config.gram.weight
        least = FLOOR * (loss.dino + loss.ibot + loss.koleo + gram)
        # KoLeo may be below 0, so the sum may be too
        first = max(abs(sum(self._first) / len(self._first)), least)
        return sum(self._recent) / len(self._recent) / first

    def weights(self) -> Weights:
        """The backbone's weights as they are now, on the CPU."""
        state = self.state.student.backbone.network.state_dict()
        return {name: value.detach().cpu().clone() for name, value in state.items()}

    @torch.no_grad()
    def look(self, watched: Tensor, anchor: tuple[Tensor, Tensor]) -> Look:
        """The watched picture [1, 3, H, W] as this arm sees it now."""
        backbone = self.state.student.backbone
        backbone.eval()
        try:
            (tokens,) = backbone(watched)
        finally:
            backbone.train()
        patches, cls = tokens.patches[0].float().cpu(), tokens.cls[0].float().cpu()
        rows, columns, _ = anchor[0].shape
        distance = gram_loss(patches[None].double(), anchor[0].flatten(0, 1)[None].double())
        return Look(self.name, self.step, patches.unflatten(0, (rows, columns)), cls, float(distance))

    def tensors(self) -> Weights:
        """All that `restore` needs; clones on the CPU."""
        good, step = self._good
        held = {f"good.{name}": value for name, value in good.items()}
        numbers = {"first": self._first, "recent": self._recent, "good_step": [step]}
        listed = {name: torch.tensor(values, dtype=torch.float64) for name, values in numbers.items()}
        state = {
            name: value.clone()
            for name, value in to_tensors(self.state).items()
            if not name.startswith("gram_teacher.")
        }
        return {**state, **held, **listed}

    def restore(self, saved: Saved) -> None:
        """Go back to a saved state. Raises CheckpointError where it is not of this job."""
        own = {
            k.removeprefix(f"{self.name}/"): v
            for k, v in saved.tensors.items()
            if k.startswith(f"{self.name}/")
        }
        teacher = self.state.gram_teacher  # the job's, which is not saved
        load_tensors(self.state, own, saved.step)
        self.state.gram_teacher = teacher
        self._first, self._recent = own["first"].tolist(), own["recent"].tolist()
        good = {k.removeprefix("good."): v for k, v in own.items() if k.startswith("good.")}
        self._good = (good, int(own["good_step"]))


def ending(job: FinetuneJob, arms: list[Arm], spent: float, stopped: Callable[[], bool]) -> Ended | None:
    """The end, where it has come."""
    step, steps = arms[0].step, job.config.steps
    if step == steps:
        reason, sentence = "done", f"Finished all {steps} steps."
    elif stopped():
        reason, sentence = (
            "stopped",
            f"Stopped after step {step} of {steps}; the weights of that step are kept.",
        )
    elif spent > job.seconds:
        reason = "deadline"
        sentence = (
            f"The {job.seconds:g} seconds that a fine-tune may take were over after step {step} of {steps}; "
            "the weights of that step are kept."
        )
    else:
        return None
    return Ended(reason, sentence, step, {arm.name: arm.weights() for arm in arms})


def diverged(lost: Arm, arms: list[Arm]) -> Ended:
    """The end of a run of which one arm's loss is not finite or has grown out of bounds."""
    weights, step = lost.good
    who = "The control arm" if lost.name == CONTROL else "The training"
    sentence = (
        f"{who} diverged after step {lost.step}: its loss grew to more than {RUNAWAY:g} times that of its first "
        f"steps or was not finite. The last good weights, of step {step}, are kept; a lower learning rate may help."
    )
    return Ended(
        "diverged", sentence, step, {arm.name: weights if arm is lost else arm.good[0] for arm in arms}
    )


def gram_teacher(job: FinetuneJob, device: torch.device) -> DenseBackbone:
    """The frozen Gram teacher, in training mode as the student is, so that both compute alike."""
    backbone = backbone_of(job.config.network, job.start if job.teacher is None else job.teacher)
    return backbone.to(device).train()


def start_state(
    job: FinetuneJob, config: TrainConfig, device: torch.device, teacher: DenseBackbone
) -> TrainState:
    """The state at step 0: student and EMA teacher begin with the job's weights and heads."""
    depth = create_backbone(config.network).depth

    def trains(name: str) -> bool:
        head, _, rest = name.partition("backbone.network.")
        return job.trained.includes(rest, depth) if not head else not config.gram_alone

    state = new_state(config, device, trains)
    heads = {} if job.heads is None or config.gram_alone else job.heads
    given = {**{f"backbone.network.{name}": value.float() for name, value in job.start.items()}, **heads}
    for learner in {id(one): one for one in (state.student, state.teacher)}.values():
        missing, unexpected = learner.load_state_dict(given, strict=False)
        lacking = [name for name in missing if not config.gram_alone or name.startswith("backbone.")]
        if lacking or unexpected:
            raise ConfigError(f"the weights do not fit the network: {[*lacking, *unexpected][0]!r}")
    state.gram_teacher = teacher
    return state


@torch.no_grad()
def anchor_of(teacher: DenseBackbone, watched: Tensor, resolution: int) -> tuple[Tensor, Tensor]:
    """patches [h, w, d] and cls [d] of the Gram teacher for the watched picture [1, 3, H, W], on the student's grid.

    Where the teacher sees more, the picture is enlarged bicubically, as a crop of its source would be.
    """
    rows, columns = (side // teacher.patch_size for side in watched.shape[-2:])
    if resolution > 1:
        size = [side * resolution for side in watched.shape[-2:]]
        watched = torch.nn.functional.interpolate(watched, size, mode="bicubic", antialias=True).clamp(0, 1)
    patches = gram_targets(teacher, watched, resolution)
    (tokens,) = teacher(watched)
    return patches[0].float().cpu().unflatten(0, (rows, columns)), tokens.cls[0].float().cpu()


def autocast_of(device: torch.device) -> torch.dtype | None:
    """bfloat16 products on CUDA where it has them. On a CPU float32: steps this small gain nothing there."""
    return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else None
