"""The judge: a small ResNet that names objects, parts' states, settings and styles.

It only scores whether an edit happened; nothing is ever trained or guided by it.
"""

import torch
from torch import Tensor
from transformers import ConvNextImageProcessorPil, ResNetConfig, ResNetForImageClassification

from cirp.miniature.fit import Budget, Outcome, fit
from cirp.miniature.scene import all_labels
from cirp.miniature.stages.setup import Setup, half, save_half, tensor

SIDE = 64  # pixels; what the drawings are made at


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


def train(setup: Setup) -> Outcome:
    """Binary cross-entropy on all labels; noise and blur, so that artefacts are no news."""
    corpus, labels = setup.corpus, all_labels()
    model = build(labels).to(setup.device, memory_format=torch.channels_last)
    tables = [torch.from_numpy(table) for table in corpus.labels]
    sides = ((corpus.source, 0), (corpus.target, 1), (corpus.leaked, 1))

    def losses(step: int) -> Tensor:
        generator = setup.generator(step)
        index = torch.randint(len(corpus), (setup.batch,), generator=generator)
        pictures, table = sides[step % 3]
        x = tensor(pictures[index.numpy()], setup.device)
        if torch.rand((), generator=generator) < 0.5:
            x = x.flip(-1)
        x = x + 0.12 * torch.rand((), generator=generator) * torch.randn(
            x.shape, generator=generator
        ).to(x)
        if torch.rand((), generator=generator) < 0.3:  # as soft as a decoder's output
            x = torch.nn.functional.avg_pool2d(x, 3, stride=1, padding=1)
        x = torch.nn.functional.interpolate(x, (SIDE, SIDE), mode="bilinear")
        with setup.autocast():
            logits = model(x.contiguous(memory_format=torch.channels_last)).logits
        truth = tables[table][index].float().to(setup.device)
        return 10 * torch.nn.functional.binary_cross_entropy_with_logits(logits.float(), truth)

    budget = Budget(setup.minutes, setup.rate or 2e-3, weight_decay=0.02, ema=0.998)
    state, outcome = fit(
        model, losses, budget=budget, folder=setup.work, batch=setup.batch, name="judge"
    )
    model.load_state_dict(half(state))
    save_half(model, setup.models / "judge")
    processor().save_pretrained(setup.models / "judge")
    return outcome
