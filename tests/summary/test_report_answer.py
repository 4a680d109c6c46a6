"""The report's answer: the question, a sentence for each change, and the next command."""

from typing import Any

import pytest
from paired import found, runs, table

from sweeper.summary.report_answer import ask, findings, next_steps
from sweeper.summary.sentences import answers

ACCS = {"none": [0.5, 0.52, 0.51], "batch": [0.55, 0.572, 0.561], "layer": [0.49, 0.52, 0.515]}


def test_the_findings_are_the_sentences_of_the_terminal() -> None:
    result = found(table(*runs("norm", ACCS)), {"norm": "none"})
    shown, (answer,) = findings(result), answers(result)
    assert shown is not None and shown["heading"] == answer.heading
    assert [f"{item['name']}: {item['text']}" for item in shown["items"]] == answer.sentences
    assert [item["kind"] for item in shown["items"]] == ["up", "open"]
    worse = findings(found(table(*runs("norm", {"none": ACCS["batch"], "batch": ACCS["none"]})), {"norm": "none"}))
    assert worse is not None and [item["kind"] for item in worse["items"]] == ["down"]
    assert findings(found(table(*runs("norm", {"none": [0.5]})))) is None


@pytest.mark.parametrize(
    "axes, states, text",
    [
        ([], ["finished"], "How accurate is this configuration? 1 finished run on digits."),
        (["norm"], ["finished"] * 2, "Does norm change test accuracy? 2 finished runs on digits, 2 seeds."),
        (
            ["a", "b", "c"],
            ["finished", "failed", "finished"],
            "Does a, b or c change test accuracy? 3 runs on digits, 3 seeds: 2 finished, 1 failed.",
        ),
        (
            list("abcdefgh"),
            ["finished"],
            "Does a, b, c, d, e, f or 2 other settings change test accuracy? 1 finished run on digits.",
        ),
    ],
)
def test_the_question_names_what_varies(axes: list[str], states: list[str], text: str) -> None:
    frame = table(*({"seed": seed} for seed in range(len(states)))).assign(state=states)
    assert ask(frame, axes, ["digits"]) == text


def test_the_next_step_is_a_command() -> None:
    unsure = found(table(*runs("norm", ACCS)), {"norm": "none"})
    plan: dict[str, Any] = {"command": "python train.py -m norm=none,batch seed=0,1,2"}
    (purpose, command), (_, numbers) = next_steps("my sweep", plan, [unsure])
    assert command == f"{plan['command']} sweep.precision=0.005" and "±0.5 points, 20 at most" in purpose
    assert numbers == "python -m sweeper effects 'my sweep'"
    plan["command"] += " sweep.precision=0.01"
    assert [command for _, command in next_steps("tricks", plan, [unsure])] == ["python -m sweeper effects tricks"]
    assert [command for _, command in next_steps(None, None, [unsure])] == ["python -m sweeper effects"]
    sure = found(table(*runs("norm", {name: ACCS[name] for name in ("none", "batch")})), {"norm": "none"})
    assert [command for _, command in next_steps("tricks", plan | {"command": "x"}, [sure])] == [
        "python -m sweeper effects tricks"
    ]
    assert next_steps(None, None, [found(table(*runs("norm", {"none": [0.5]})))]) == []


def test_a_change_that_never_finishes_is_among_the_findings() -> None:
    frame = table(*runs("norm", {**ACCS, "layer": [0.1, 0.1]}))
    frame.loc[frame["norm"] == "layer", "state"] = "diverged"
    shown = findings(found(frame, {"norm": "none"}))
    assert shown is not None
    assert (shown["items"][-1]["name"], shown["items"][-1]["text"]) == ("norm=layer", "no run finished, 2 diverged.")
