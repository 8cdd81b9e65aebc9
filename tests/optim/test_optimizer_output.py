"""An optimizer at the end of a cell: its formula as mathematics, its numbers by group, everything escaped."""

import pytest
import torch

from ravine.formula._mathml import formula_mathml
from ravine.formula._plain_text import formula_lines
from ravine.optim import SOAP, Adam, RMSprop


def parameter(size=3):
    return torch.nn.Parameter(torch.zeros(size))


def test_the_formula_that_it_runs_and_its_numbers():
    optimizer = RMSprop([parameter()], lr=0.002, momentum=0.9)
    page = optimizer._repr_html_()
    assert "<strong>RMSprop: 3 numbers in 1 tensor</strong>" in page
    assert formula_mathml(optimizer.program()).replace(' display="block"', "") in page
    untrusted = page.partition('<pre class="plain">')[2].partition("</pre>")[0]
    assert untrusted == "\n".join(formula_lines(optimizer.program()))
    assert '<div class="drawn" style="display:none"><div style="overflow' in page
    assert ".ravine .drawn{display:block!important}" in page
    assert "<tr><td>lr</td><td>0.002</td></tr>" in page
    assert "<tr><td>momentum</td><td>0.9</td></tr>" in page
    assert "weight_decay=0" in page.partition("Options that do not change from step to step")[2]
    assert "Parameter Group 0" in repr(optimizer)  # a terminal has its text


def test_an_option_is_no_number_of_the_formula_though_one_of_its_names_begins_like_it():
    page = SOAP([torch.nn.Parameter(torch.zeros(3, 2)), parameter()])._repr_html_()
    table, rest = page.split("Options that do not change from step to step: ")
    for name in ("betas", "others_betas", "others_lr_ratio"):
        assert f"<tr><td>{name}</td>" in table
    assert "others=True" in rest


def test_groups_have_a_column_each_and_formulas_stand_once():
    groups = [{"params": [parameter(i + 1)], "lr": 0.1 * (i + 1)} for i in range(3)]
    groups[2]["weight_decay"] = 0.1
    page = Adam(groups, betas=(0.8, 0.9))._repr_html_()
    assert page.count("<math") == 2
    assert "group 0, group 1:" in page
    assert "<tr><td>lr</td><td>0.1</td><td>0.2</td><td>0.3</td></tr>" in page
    assert "<tr><td>betas</td><td>(0.8, 0.9)</td><td>(0.8, 0.9)</td><td>(0.8, 0.9)</td></tr>" in page
    assert "<tr><td>numbers</td><td>1</td><td>2</td><td>3</td></tr>" in page


@pytest.mark.parametrize("count", [1, 300])
def test_many_groups_stay_small(count):
    groups = [{"params": [parameter()], "lr": 0.1 + i / 1000} for i in range(count)]
    page = RMSprop(groups)._repr_html_()
    assert len(page) < 20_000
    assert ("292 groups more" in page) == (count == 300)
