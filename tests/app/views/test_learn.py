"""The steps of Learn that are about a network, without a browser."""

from __future__ import annotations

import json
from itertools import combinations

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from analysis.options import AnalysisOptions, RunOptions
from analysis.results import TopologyReport
from analysis.runs.queue import RunQueue
from analysis.runs.store import Bet, RunStore
from analysis.sweeps.profile_files import SHIPPED
from analysis.topology.store import fingerprint, load_analysis
from app.components.learn.bet import BETS, bet_options
from app.components.shared.verdict import verdict
from tests.app.pages import button, opened, table, texts, tile, tiles
from tests.factories import choices_by_draw
from tests.run_factories import finished_run, run_options

pytestmark = pytest.mark.usefixtures("home")


def usual() -> TopologyReport:
    report = load_analysis(fingerprint(AnalysisOptions()))
    assert report is not None
    return report


def guess(page: AppTest, question: str, answer: str) -> AppTest:
    page.button_group(key=f"guess_{question}").set_value(answer)
    return page.run()


def test_a_layer_is_shown_with_the_neighbours_of_an_image_and_its_loops_after_a_guess() -> None:
    page = opened("learn", step="3", learn_at="layer2.0.conv1", followed="7")
    report = usual()
    layer, members = report.layer("layer2.0.conv1"), report.clouds[0]
    (component,) = page.get("bidi_component")[1:]
    data = json.loads(component.proto.json)
    assert (data["quiet"], data["followed"]) == (True, 6)
    assert tiles(page) == []
    page = guess(page, "layers", "rises")
    assert not page.exception
    assert tile(page, "b₁ of this layer") == f"{layer.b1:.1f}"
    most = max(report.layers, key=lambda each: each.b1)
    assert f"at most **{most.b1:.1f}** (in `{most.name}`)" in texts(page)

    nearest = members[layer.distances[members[6], members].argsort()][1:6]
    names = [data["classes"][members.tolist().index(each)] for each in nearest]
    same = names.count(data["classes"][6])
    assert f"**{same} of 5** are of its class" in texts(page)


def test_a_draw_chooses_what_its_own_loops_say_and_draws_agree_as_counted() -> None:
    page = opened("learn", step="4", learn_draw="3", learn_rho="0.2")
    report = usual()
    page.selectbox(key="learn_normalization").set_value("parameters").run()
    chosen = choices_by_draw(report, rho=0.2, normalization="parameters")
    inside = [name for name in report.names if name in chosen[2]]
    assert f"**Draw 3 chooses** {', '.join(f'`{name}`' for name in inside)}." in texts(page)
    page = guess(page, "selection", "most")
    assert not page.exception
    shared = np.mean([len(a & b) for a, b in combinations(chosen, 2)])
    assert tile(page, "Layers that two draws share (you said most)") == (
        f"{shared:.1f} of {len(inside)}"
    )


def test_a_link_may_ask_for_a_step_that_does_not_exist() -> None:
    page = opened("learn", step="77", points="inf", ring="1,x")
    assert not page.exception
    assert sorted(toast.value[:19] for toast in page.toast) == [
        "The link has points",
        "The link has step =",
        "The points of the l",
    ]
    page = opened("learn", ring="1,0;0,1;-1,0;0,-1")
    assert json.loads(page.get("bidi_component")[1].proto.json)["count"] == 4


def test_a_bet_is_held_against_the_runs_of_this_computer(store: RunStore) -> None:
    page = opened("learn", step="5")
    page = guess(page, "bet", "Random")
    assert tiles(page) == []
    assert button(page, "Train all 4").proto.disabled is False
    right = {"adabet": (0.7, 0.6), "size": (0.65, 0.9), "random": (0.5, 0.4), "head": (0.3, 0.2)}
    for name, accuracies in right.items():
        for seed, accuracy in enumerate(accuracies):
            finished_run(store, bet_options(name, seed), accuracy=accuracy)
    finished_run(store, run_options("adabet"), accuracy=1.0)  # longer: not of this step
    for name in BETS:
        finished_run(store, bet_options(name, 0, 0.3), accuracy=right[name][0])
    page.run()
    assert not page.exception
    assert tile(page, "Best over 2 seeds (you bet on Random)") == "Size alone"
    of_step = [r for r in store.runs() if r.options.rho == 0.1 and r.options.recipe.epochs == 3]
    assert verdict(of_step)[0] in texts(page)
    assert table(page).to_dict("list") == {
        "ρ": [0.1, 0.3], "Best": ["Size alone", "AdaBet"], "Right": ["77.5 %", "70.0 %"],
        "Seeds": [2, 1],
    }  # fmt: skip
    assert button(page, "Train again with other images")
    size = json.loads((SHIPPED / "pocket-resnet20-digits.json").read_text())["criteria"]
    size = next(each["accuracies"] for each in size if each["criterion"] == "size")
    assert f"Best there: Size alone, {100 * np.mean(size):.1f} % right." in texts(page)

    started: list[list[RunOptions]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunQueue, "start", lambda _, options: started.append(options))
        page.run()  # whose button then starts nothing else
        button(page, "Train again with other images").click().run()
    assert started == [[bet_options(name, 2) for name in BETS]]


def test_bets_by_name_are_kept_before_the_result_is_seen(store: RunStore) -> None:
    for name in BETS:
        finished_run(store, bet_options(name, 0, 0.3), accuracy={"size": 0.9}.get(name, 0.5))
    page = opened("learn", step="5", bet_rho="0.2")
    page.text_input(key="bet_name").set_value(" Ann  *B* ").run()
    assert store.bets() == []  # no bet yet
    page = guess(page, "bet", "Random")
    assert "Ann \\*B\\* bets on Random." in texts(page)
    page.text_input(key="bet_name").set_value("Cem").run()
    assert len(store.bets()) == 1  # Ann's choice is not his
    page = guess(page, "bet", "Head only")
    assert Bet("Cem", "head", 0.2) in store.bets()
    page = guess(page, "bet", "Random")  # which is nobody's
    page.slider(key="bet_rho").set_value(0.3).run()
    page.text_input(key="bet_name").set_value("Dan").run()
    page = guess(page, "bet", "Random")
    assert "the bet of Dan was not entered" in texts(page)
    assert len(store.bets()) == 2

    store.add_bet(Bet("Eve", "random", 0.3))
    later = opened("learn", step="5", bet_rho="0.3")
    later.text_input(key="bet_name").set_value("Dan").run()
    later = guess(later, "bet", "Size alone")
    assert not later.exception
    assert later.dataframe[-1].value.to_numpy().tolist() == [
        ["Dan", "Size alone", "yes", 0.3, "90.0 %", "Size alone"],
        ["Eve", "Random", "no", 0.3, "50.0 %", "Size alone"],
        ["Cem", "Head only", "", 0.2, "not trained", ""],
        ["Ann *B*", "Random", "", 0.2, "not trained", ""],
    ]
    button(later, "Forget all bets").click().run()
    assert store.bets() == []
