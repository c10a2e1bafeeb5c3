"""What a thread gives, another one takes: one at a time, in order, none lost."""

import threading

from app.commit.single_slot import SingleSlot

WAIT_S = 10.0


def test_everything_given_is_taken_in_order() -> None:
    slot: SingleSlot[int] = SingleSlot()
    taken: list[int] = []

    def take_all() -> None:
        while (item := slot.take()) is not None:
            taken.append(item)

    taker = threading.Thread(target=take_all)
    taker.start()
    assert all(slot.give(item) for item in range(1, 1001))
    slot.close()
    taker.join(WAIT_S)
    assert taken == list(range(1, 1001))


def test_what_waits_when_it_is_closed_is_still_taken() -> None:
    slot: SingleSlot[str] = SingleSlot()
    assert slot.give("waits")
    slot.close()
    assert not slot.give("comes too late")
    assert slot.take() == "waits"
    assert slot.take() is None


def test_a_second_item_is_not_given_while_one_waits() -> None:
    slot: SingleSlot[str] = SingleSlot()
    slot.give("first")
    outcomes: list[bool] = []
    giver = threading.Thread(target=lambda: outcomes.append(slot.give("second")))
    giver.start()
    assert outcomes == []
    assert slot.take() == "first"
    giver.join(WAIT_S)
    assert outcomes == [True]
    assert slot.take() == "second"


def test_whoever_waits_to_give_is_let_go_when_it_is_closed() -> None:
    slot: SingleSlot[str] = SingleSlot()
    slot.give("first")
    outcomes: list[bool] = []
    giver = threading.Thread(target=lambda: outcomes.append(slot.give("second")))
    giver.start()
    slot.close()
    giver.join(WAIT_S)
    assert outcomes == [False]


def test_it_is_idle_only_when_the_work_on_the_last_item_is_done() -> None:
    slot: SingleSlot[str] = SingleSlot()
    slot.wait_until_idle()
    slot.give("item")
    reached = threading.Event()
    at_work = threading.Event()
    done = threading.Event()

    def work() -> None:
        slot.take()
        at_work.set()
        assert done.wait(WAIT_S)
        slot.take()

    def wait() -> None:
        slot.wait_until_idle()
        reached.set()

    threads = [threading.Thread(target=work), threading.Thread(target=wait)]
    for thread in threads:
        thread.start()
    assert at_work.wait(WAIT_S)
    assert not reached.is_set()
    done.set()
    assert reached.wait(WAIT_S)
    slot.close()
    for thread in threads:
        thread.join(WAIT_S)
