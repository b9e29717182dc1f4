"""From prompts to scores: batches, memory, failures, and that nothing lands on another row."""

import threading
from contextlib import suppress

import pytest

from rethink.editors.server_editor import ServerEditor
from rethink.errors import RethinkError
from rethink.thinkers.critique import Thinker
from rethink.training.step_progress import StepProgress
from rethink.training.thinker_rewards import Scores
from rethink.training.thinker_rollouts import GIVE_UP, Rollouts, TimeLimit, settings_for
from tests.support.edit_servers import edit, edit_server, refusal
from tests.support.rl_steps import QUESTION, FailingPainter, PromptJudge, write_step
from tests.support.thinking import Painter
from tests.support.waiting import SOON, wait_until


@pytest.fixture
def step(tmp_path):
    return write_step(tmp_path)


def rollouts(editor=None, judge=None, **options):
    editor = editor or FailingPainter()
    return Rollouts(editor, Thinker(judge or PromptJudge(), QUESTION), editor.defaults, **options)


def worth(scored):
    return [each.after and each.after.semantic for each in scored]


def test_a_groups_distinct_prompts_are_one_batch_with_one_seed_and_one_encoded_source(step):
    run = rollouts()
    scored = run.score([step] * 4, ["worth 3 a", "worth 5 b", "worth 3 a", "worth 7 c"])
    assert worth(scored) == [3, 5, 3, 7] and {each.before for each in scored} == {Scores(1, 1)}
    (call,) = run.editor.calls
    assert call.prompts == ["worth 3 a", "worth 5 b", "worth 7 c"] and len(set(call.seeds)) == 1
    assert run.editor.prepared == 1
    assert run.judge.chat.batches == [4]  # with the edit that was there before, all at once


def test_what_was_edited_and_judged_once_is_remembered(step):
    run = rollouts()
    first = run.score([step] * 2, ["worth 3", "worth 5"])
    assert run.score([step] * 3, ["worth 5", "worth 3", "worth 9"])[:2] == first[::-1]
    assert [call.prompts for call in run.editor.calls] == [["worth 3", "worth 5"], ["worth 9"]]
    assert run.judge.chat.batches == [3, 1]
    assert run.take_counts()["cached"] == 2 and "cached" not in run.take_counts()


def test_a_repeated_prompt_is_the_edit_that_is_there_and_is_not_made_again(tmp_path):
    """The released code asks this of texts that can never be equal, so that it edits again every time."""
    step = write_step(tmp_path, last_prompt="worth 6 as before")
    run = rollouts()
    scored = run.score([step] * 2, ["worth 6 as before ", "worth 6 as before"])
    assert not run.editor.calls and run.judge.chat.batches == [1]
    assert all(each.before == each.after == Scores(6, 6) for each in scored)
    assert run.take_counts()["repeated"] == 2


class Stop(Exception):
    """What older ComfyUIs raise where the user wants no more."""


def raise_stop(progress):
    raise Stop


def test_the_wish_to_end_is_no_failed_edit(step):
    class Stepping(Painter):
        def edit(self, prepared, instructions, seeds, settings, on_step):
            on_step(1, 4, lambda: None)

    for limit in (0, 60):
        run = rollouts(Stepping(), progress=StepProgress(raise_stop), time_limit=limit)
        with pytest.raises(Stop):
            run.score([step], ["worth 3"])
        assert not run.counts["failed_edits"]


def test_results_stay_on_their_rows_whatever_fails(tmp_path):
    """The released code takes what fails out of the list, and everything after it lands on another row."""
    one, other = write_step(tmp_path, red=0.2), write_step(tmp_path, red=0.8)
    run = rollouts()
    rows = [(one, "worth 2"), (other, "broken worth 3"), (one, "broken worth 4"), (other, "worth 5"), (one, "mute")]
    rows += [(other, ""), (one, "worth 8")]
    scored = run.score(*zip(*rows))
    assert worth(scored) == [2, None, None, 5, None, None, 8]
    assert all(each.before == Scores(1, 1) for each in scored)
    counts = run.take_counts()
    assert counts["failed_edits"] == 2 and counts["failed_judgments"] == 1
    assert run.note == "editor: it is broken."


def test_what_failed_is_tried_again_the_next_time(step):
    run = rollouts()
    assert worth(run.score([step], ["broken worth 4"])) == [None]
    run.editor = Painter()
    assert worth(run.score([step], ["broken worth 4"])) == [4]


def test_an_edit_that_changes_nothing_has_not_done_what_was_asked(tmp_path):
    step = write_step(tmp_path, instruction="worth 9 for nothing")

    class Flatterer(PromptJudge):
        def _answer(self, text):
            return super()._answer("worth 9")

    (scored,) = rollouts(judge=Flatterer()).score([step], ["nothing"])
    assert scored.after == Scores(0, 9) and scored.before == Scores(9, 9)


def test_an_editor_that_hangs_costs_its_rewards_alone(step):
    let_go = threading.Event()

    class Hanging(Painter):
        def edit(self, *arguments, **options):
            let_go.wait(SOON)
            return super().edit(*arguments, **options)

    run = rollouts(Hanging(), time_limit=0.05)
    run.limit["judge"] = TimeLimit(0)  # the judge is well, and may take its time on a busy machine
    first = run.score([step] * 2, ["worth 3", "worth 5"])
    again = run.score([step] * 2, ["worth 3", "worth 5"])
    let_go.set()
    assert worth(first) == worth(again) == [None, None] and first[0].before == Scores(1, 1)
    assert run.take_counts()["failed_edits"] == 4


def test_a_judge_that_dies_costs_its_rewards_until_nothing_at_all_works_any_more(step):
    class Dead(PromptJudge):
        def chat_all(self, *arguments, **options):
            raise ConnectionError("gone")

    run = rollouts(judge=Dead())
    for _ in range(GIVE_UP - 1):
        assert worth(run.score([step], ["worth 3"])) == [None]
    assert run.take_counts()["failed_judgments"] == 2 * (GIVE_UP - 1)
    with pytest.raises(RethinkError, match=r"20 times in a row.*gone"):
        run.score([step], ["worth 3"])


def test_a_server_that_refuses_one_prompt_is_asked_for_that_one_alone_again(step):
    with edit_server() as server:
        server.replies = [lambda request: refusal(400, "no") if "bad" in request.fields["prompt"] else edit(request)]
        run = rollouts(ServerEditor(server.url, "painter", retries=0))
        assert worth(run.score([step] * 3, ["worth 3", "bad", "worth 4"])) == [3, None, 4]
        assert sorted(request.fields["prompt"] for request in server.requests) == ["bad", "bad", "worth 3", "worth 4"]
    assert run.take_counts()["failed_edits"] == 1 and "error 400: no" in run.note


def test_a_server_that_is_gone_is_asked_once_for_a_group(step):
    with edit_server() as server:
        server.replies = [refusal(503, "loading")]
        run = rollouts(ServerEditor(server.url, "painter", retries=0, concurrency=1))
        assert worth(run.score([step] * 3, ["worth 3", "worth 4", "worth 5"])) == [None] * 3
        assert len(server.requests) == 1
    assert run.take_counts()["failed_edits"] == 3 and "error 503: loading" in run.note


def test_the_seed_follows_from_source_and_setting(tmp_path):
    steps = write_step(tmp_path, red=0.2), write_step(tmp_path, red=0.8)
    seeds = []
    for seed in (0, 0, 1):
        run = rollouts(seed=seed)
        run.score(steps, ["a", "a"])
        seeds.append([call.seeds[0] for call in run.editor.calls])
    assert seeds[0] == seeds[1] != seeds[2] and len(set(seeds[0])) == 2


def test_a_time_limit_passes_results_and_errors_through():
    limit = TimeLimit(SOON)
    assert limit.call(lambda: 3) == 3
    with pytest.raises(KeyError):
        limit.call(lambda: {}["gone"])
    with pytest.raises(TimeoutError, match="its own"):
        limit.call(_raise_its_own)
    assert TimeLimit(0).call(threading.get_ident) == threading.get_ident()


def test_what_is_late_lets_nothing_begin_until_it_ends():
    limit, let_go, begun = TimeLimit(0.5), threading.Event(), []
    with pytest.raises(TimeoutError, match=r"took longer than 0\.5 seconds"):
        limit.call(lambda: let_go.wait(SOON))
    with pytest.raises(TimeoutError, match="an earlier call has not finished yet"):
        limit.call(lambda: begun.append("too early"))
    let_go.set()
    assert wait_until(lambda: _done_in_time(limit)) == "in time" and not begun


def _done_in_time(limit):
    with suppress(TimeoutError):
        return limit.call(lambda: "in time")


def _raise_its_own():
    raise TimeoutError("its own")


def test_fewer_steps_of_the_editor_are_a_setting():
    assert settings_for(Painter(), 0).steps == 2 and settings_for(Painter(), 1).steps == 1
    assert settings_for(Painter(), 1).text_guidance == 7.5
