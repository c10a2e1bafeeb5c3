"""What a thread gives, another one takes: one at a time, in order, none lost."""

import threading

from app.commit.handover import Handover

WAIT_S = 10.0


def test_everything_given_is_taken_in_order() -> None:
    handover: Handover[int] = Handover()
    taken: list[int] = []

    def take_all() -> None:
        while (item := handover.take()) is not None:
            taken.append(item)

    taker = threading.Thread(target=take_all)
    taker.start()
    assert all(handover.give(item) for item in range(1, 1001))
    handover.close()
    taker.join(WAIT_S)
    assert taken == list(range(1, 1001))


def test_what_waits_when_it_is_closed_is_still_taken() -> None:
    handover: Handover[str] = Handover()
    assert handover.give("waits")
    handover.close()
    assert not handover.give("comes too late")
    assert handover.take() == "waits"
    assert handover.take() is None


def test_a_second_item_is_not_given_while_one_waits() -> None:
    handover: Handover[str] = Handover()
    handover.give("first")
    outcomes: list[bool] = []
    giver = threading.Thread(target=lambda: outcomes.append(handover.give("second")))
    giver.start()
    assert outcomes == []
    assert handover.take() == "first"
    giver.join(WAIT_S)
    assert outcomes == [True]
    assert handover.take() == "second"


def test_whoever_waits_to_give_is_let_go_when_it_is_closed() -> None:
    handover: Handover[str] = Handover()
    handover.give("first")
    outcomes: list[bool] = []
    giver = threading.Thread(target=lambda: outcomes.append(handover.give("second")))
    giver.start()
    handover.close()
    giver.join(WAIT_S)
    assert outcomes == [False]


def test_it_is_idle_only_when_the_work_on_the_last_item_is_done() -> None:
    handover: Handover[str] = Handover()
    handover.wait_until_idle()
    handover.give("item")
    reached = threading.Event()
    at_work = threading.Event()
    done = threading.Event()

    def work() -> None:
        handover.take()
        at_work.set()
        assert done.wait(WAIT_S)
        handover.take()

    def wait() -> None:
        handover.wait_until_idle()
        reached.set()

    threads = [threading.Thread(target=work), threading.Thread(target=wait)]
    for thread in threads:
        thread.start()
    assert at_work.wait(WAIT_S)
    assert not reached.is_set()
    done.set()
    assert reached.wait(WAIT_S)
    handover.close()
    for thread in threads:
        thread.join(WAIT_S)
