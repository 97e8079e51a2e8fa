"""The nightly run goes on after a failure, and tells how to repeat it."""

from pathlib import Path

from tests.nightly import Step, run, steps


def test_each_step_runs_to_its_end_and_the_report_tells_of_all(tmp_path: Path) -> None:
    asked = [
        Step("bad", "echo the reason; exit 3"),
        Step("good", "echo fine"),
        Step("long", "seq 1000; exit 1"),
    ]
    done = run(asked, tmp_path / "nightly", "a run")
    assert [each.code for each in done] == [3, 0, 1]
    told = (tmp_path / "nightly.md").read_text()
    assert told.startswith("# a run\n")
    assert "| bad | 0.0 | **failed** | `echo the reason; exit 3` |" in told
    assert "| good | 0.0 | passed | `echo fine` |" in told
    assert "Repeat it with `echo the reason; exit 3`" in told
    assert "~~~\nthe reason\n~~~" in told
    assert "## good" not in told
    assert ("\n1000\n~~~" in told, "\n900\n" in told) == (True, False)


def test_what_did_not_run_yet_is_told(tmp_path: Path) -> None:
    report = tmp_path / "nightly.md"
    run([Step("first", "true"), Step("second", f"cp {report} {tmp_path}/before")], tmp_path / "nightly", "a run")
    assert "| second | | did not run yet |" in (tmp_path / "before").read_text()
    assert "did not run yet" not in report.read_text()


def test_all_long_forms_are_in_it() -> None:
    commands = " ".join(each.command for each in steps(7))
    cases = (
        "CUTS=200",
        "KILLS=100",
        "ROUNDS=10",
        "make test-cluster",
        "make test-kafka",
        "-m nightly",
        "OPERATIONS=200000",
    )
    for long in cases:
        assert long in commands
    for world in ("store", "cluster", "data", "whole"):
        assert f"tests.simulation {world} --first 7 --seeds 5000" in commands
