"""The judge: a small ResNet that names objects, parts' states, settings and styles.

It only scores whether an edit happened; nothing is ever trained or guided by it.
"""

import torch
from torch import Tensor
from transformers import ConvNextImageProcessorPil, ResNetConfig, ResNetForImageClassification

from cirp.miniature.fit import Budget, Outcome, fit
from cirp.miniature.gallery import draw_gallery
from cirp.miniature.scene import all_labels
from cirp.miniature.stages.setup import Setup, half, save_half, tensor

SIDE = 96  # pixels the judge looks at, half as many again as drawn: mouths are small
SCENES = 60_000


def build(labels: list[str]) -> ResNetForImageClassification:
    config = ResNetConfig(
        embedding_size=48,
        hidden_sizes=[48, 96, 160, 256],
        depths=[2, 2, 2, 2],
        layer_type="basic",
        num_labels=len(labels),
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
        problem_type="multi_label_classification",
    )
    return ResNetForImageClassification(config)


def processor() -> ConvNextImageProcessorPil:
    return ConvNextImageProcessorPil(
        size={"shortest_edge": SIDE},
        crop_pct=1.0,
        do_rescale=True,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
        resample=2,
    )


def augmented(x: Tensor, generator: torch.Generator) -> Tensor:
    """Mirrored, moved, scaled, noisy or soft: a drawing, or what a decoder makes of one.

    (n, 3, row, column) in [-1, 1] -> (n, 3, `SIDE`, `SIDE`).
    """
    n = len(x)
    scale = 0.92 + 0.2 * torch.rand(n, generator=generator)
    mirror = 1.0 - 2.0 * (torch.rand(n, generator=generator) < 0.5).float()
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = scale * mirror, scale
    theta[:, :, 2] = 0.12 * (torch.rand(n, 2, generator=generator) - 0.5)
    grid = torch.nn.functional.affine_grid(theta, (n, 3, SIDE, SIDE), align_corners=False)
    if torch.rand((), generator=generator) < 0.4:
        x = torch.nn.functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
    noise = 0.1 * torch.rand((), generator=generator) * torch.randn(x.shape, generator=generator)
    return torch.nn.functional.grid_sample(
        x + noise.to(x), grid.to(x), padding_mode="reflection", align_corners=False
    )


def train(setup: Setup) -> Outcome:
    """Binary cross-entropy on all labels, on scenes of every combination."""
    gallery, labels = draw_gallery(setup.work.parent / "gallery.npz", count=SCENES), all_labels()
    model = build(labels).to(setup.device, memory_format=torch.channels_last)
    truth = torch.from_numpy(gallery.labels)

    def losses(step: int) -> Tensor:
        generator = setup.generator(step)
        index = torch.randint(len(truth), (setup.batch,), generator=generator)
        x = augmented(tensor(gallery.pictures[index.numpy()], setup.device), generator)
        with setup.autocast():
            logits = model(x.contiguous(memory_format=torch.channels_last)).logits
        return 10 * torch.nn.functional.binary_cross_entropy_with_logits(
            logits.float(), truth[index].float().to(setup.device)
        )

    budget = Budget(setup.minutes, setup.rate or 2e-3, weight_decay=0.02, ema=0.998)
    state, outcome = fit(
        model, losses, budget=budget, folder=setup.work, batch=setup.batch, name="judge"
    )
    model.load_state_dict(half(state))
    save_half(model, setup.models / "judge")
    processor().save_pretrained(setup.models / "judge")
    return outcome
