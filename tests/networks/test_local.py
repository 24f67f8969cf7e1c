"""The local network predicts cell by cell, whatever the exposure; its loss knows what is known."""

import pytest
import torch

from common.errors import UserError
from model import build_model
from networks.classes import class_logits, logit_margin
from networks.local import (
    TOP_SHARE,
    LocalNetwork,
    local_mean,
    normalise_local_contrast,
)
from networks.losses import LocalLoss, cell_loss

NAMES = ["def_front", "ok_front"]
LN2 = torch.log(torch.tensor(2.0))


def network(head="softmax", outputs=2) -> LocalNetwork:
    torch.manual_seed(0)
    defects = [True] * (outputs - 1) + [False]
    return build_model(outputs, "none", head, network="local", defects=defects).eval()


@pytest.mark.parametrize("side", [32, 45, 160])
def test_a_logit_for_each_class_at_any_size(side):
    assert network()(torch.rand(2, 1, side, side)).shape == (2, 2)
    assert network("sigmoid")(torch.rand(2, 1, side, side)).shape == (2, 1)


def test_the_whole_is_the_mean_of_its_most_suspicious_cells():
    images = torch.rand(3, 1, 160, 160)
    model = network()
    (cells,) = model(images, pool=False)
    assert cells.shape == (3, 2, 20, 20)
    flat = cells.flatten(2)
    few = round(TOP_SHARE * 400)
    order = (flat[:, 0] - flat[:, 1]).argsort(descending=True)[:, :few]
    expected = torch.stack([flat[i][:, order[i]].mean(1) for i in range(3)])
    torch.testing.assert_close(model(images), expected)


def test_a_cell_sees_its_neighbourhood_only():
    model = network()
    images = torch.rand(1, 1, 160, 160)
    other = images.clone()
    other[..., :24, :24] = 1 - other[..., :24, :24]
    # Once the light is evened out, which alone looks further
    first, second = (model.maps_of(model.later_stages(model.stem(x)))[0] for x in (images, other))
    changed = (first - second).abs().amax(1)[0] > 1e-5  # (20, 20)
    assert changed[:3, :3].any()
    assert not changed[10:].any()
    assert not changed[:, 10:].any()


@pytest.mark.parametrize("gain", [0.5, 0.8, 1.3])
def test_exposure_makes_no_difference(gain):
    images = 0.2 + 0.5 * torch.rand(2, 1, 64, 64)
    torch.testing.assert_close(
        normalise_local_contrast(gain * images), normalise_local_contrast(images), atol=1e-3, rtol=0
    )


def test_smooth_light_nearly_vanishes_and_spots_stay():
    slope = torch.linspace(0.2, 0.8, 160).expand(1, 1, 160, 160)
    noise = 0.02 * torch.rand(1, 1, 160, 160)
    spot = torch.zeros(1, 1, 160, 160)
    spot[..., 80:84, 80:84] = -0.2
    found = normalise_local_contrast(slope + noise + spot)
    ground = found[..., 40:70, 40:120]
    assert found[..., 81:83, 81:83].max() < ground.min()
    columns = ground.mean((0, 1, 2))
    assert (columns.max() - columns.min()) < 0.5 * (ground.max() - ground.min())


def test_surroundings_of_a_plain_image_are_that_image_at_any_size():
    for side in (20, 45, 160):
        plain = torch.full((1, 1, side, side), 0.3)
        torch.testing.assert_close(local_mean(plain), plain)


def test_the_margin_takes_the_likeliest_class_of_either_kind():
    logits = torch.tensor([[1.0, 4.0, 2.0], [0.0, -1.0, 3.0]])
    defects = torch.tensor([True, True, False])
    assert logit_margin(logits, defects).tolist() == [2.0, -3.0]
    assert logit_margin(logits[:, :1], defects).tolist() == [1.0, 0.0]


# --- the loss ------------------------------------------------------------------------------------


def marked(*where):
    marks = torch.zeros(len(where), 1, 40, 40)
    for mark, place in zip(marks, where, strict=True):
        if place:
            mark[0, place[0], place[1]] = 1
    return marks


@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
def test_an_ignorant_network_loses_ln_2_on_parts(head):
    model = network(head)
    loss = LocalLoss(model, NAMES)
    cells = torch.zeros(2, 1 if head == "sigmoid" else 2, 5, 5)
    bad = torch.tensor([0, 0])  # of defective parts no cell is known
    value, right = loss([cells], bad, marked(None, None))
    torch.testing.assert_close(value, LN2)
    assert right.shape == (2,)


def test_parts_learn_from_the_cells_that_they_are_predicted_by():
    model = network("sigmoid")
    cells = torch.randn(1, 1, 20, 20, requires_grad=True)
    value, _ = LocalLoss(model, NAMES)([cells], torch.tensor([0]), marked(None))
    value.backward()
    predicted = torch.autograd.grad(model.top_k_pooling(cells).sum(), cells)[0]
    assert torch.equal(cells.grad != 0, predicted != 0)


def test_a_good_part_with_a_synthetic_defect_counts_as_defective():
    loss = LocalLoss(network(), NAMES)
    cells = torch.zeros(1, 2, 5, 5)
    cells[0, 0, 2, 2], cells[0, 0, 0, 0] = 9.0, -9.0
    cells[0, 1] = 3.0
    target = torch.tensor([1])
    drawn, right = loss([cells], target, marked((20, 20)))
    plain, wrong = loss([cells], target, marked(None))
    assert right.all()
    assert not wrong.any()
    assert drawn < plain


def test_synthetic_defects_may_be_of_any_kind():
    names = ["blow_hole", "chip", "ok_front"]
    loss = LocalLoss(network(outputs=3), names)
    cells = torch.full((2, 3, 5, 5), -5.0)
    cells[0, 0], cells[1, 1] = 5.0, 5.0  # one kind, the other kind
    value, right = loss([cells], torch.tensor([2, 2]), marked((3, 3), (3, 3)))
    assert right.all()
    assert LN2 < value < 10  # parts are right; unmarked cells are not


def test_cells_of_defective_parts_and_beside_a_mark_are_left_out():
    logits = torch.zeros(2, 5, 5, requires_grad=True)
    known = torch.tensor([True, False])
    cell_loss(logits, marked((20, 20), None), known).backward()
    gradient = logits.grad
    assert not gradient[1].any()
    assert gradient[0, 2, 2] < 0  # is to rise
    around = gradient[0, 1:4, 1:4].clone()
    around[1, 1] = 0
    assert not around.any()
    assert (gradient[0, 0] > 0).all()  # are to fall


def test_marked_and_plain_cells_weigh_alike():
    logits = torch.zeros(1, 20, 20)
    one = cell_loss(logits, marked((20, 20)), torch.tensor([True]))
    torch.testing.assert_close(one, LN2 * (1 / 2 + 391 / 392))


def test_both_heads_learn_the_same():
    two = torch.randn(3, 2, 5, 5)
    one = (two[:, 0] - two[:, 1]).unsqueeze(1)
    targets, marks = torch.tensor([0, 1, 1]), marked(None, (20, 20), None)
    values = [
        LocalLoss(network(head), NAMES)([cells], targets, marks)[0]
        for head, cells in (("softmax", two), ("sigmoid", one))
    ]
    torch.testing.assert_close(*values)


def test_logits_of_the_single_output_are_those_of_the_defect():
    logits = network("sigmoid")(torch.rand(1, 1, 32, 32))
    assert class_logits(logits, NAMES)[0, 0] == logits[0, 0]


# --- weights -------------------------------------------------------------------------------------


def test_it_begins_with_the_weights_of_a_checkpoint_of_its_own_and_with_no_other(tmp_path):
    trained = network(outputs=3)
    path = tmp_path / "local.pth"
    torch.save(trained.state_dict(), path)
    begun = build_model(2, str(path), network="local")
    assert torch.equal(begun.layer2[1].conv2.weight, trained.layer2[1].conv2.weight)
    assert begun.fc.out_channels == 2  # classes are its own
    torch.save(build_model(2, "none").state_dict(), path)
    with pytest.raises(UserError, match="holds no local network"):
        build_model(2, str(path), network="local")
    with pytest.raises(UserError, match="fit --network resnet18 only"):
        build_model(2, "imagenet", network="local")
