"""The selection of commands that work causes, among all that Redis is sent meanwhile."""

from bench.redis_commands import select_work


def test_commands_of_work_count_and_one_poll_for_each_message() -> None:
    sent = ["BRPOP gpu", "EVALSHA rate", "LPUSH gpu {}", "BRPOP gpu", "PUBLISH zekron:0:ended 1", "BRPOP gpu"]
    assert select_work(sent, queue="gpu") == [
        "EVALSHA rate",
        "LPUSH gpu {}",
        "PUBLISH zekron:0:ended 1",
        "BRPOP gpu",
    ]


def test_commands_by_the_clock_do_not_count() -> None:
    # A busy machine takes long enough for kombu to renew a binding of the worker's remote control in between.
    renewal = [
        "SCRIPT EXISTS ef7a9e",
        "MULTI",
        "EVALSHA ef7a9e 2 _kombu.binding.celery.pidbox _kombu.binding_deadlines gpu@trips.celery.pidbox 3600000",
        "EXEC",
        "EVALSHA 9a2b96 1 _kombu.binding_deadlines _kombu.binding. _kombu.binding_permanent. 100",
    ]
    by_the_clock = ["PING", "HSET zekron:workers:details w 1", "PUBLISH /0.celeryev/worker.heartbeat {}"]
    assert select_work(renewal + by_the_clock, queue="gpu") == []
