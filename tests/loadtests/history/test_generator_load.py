"""The lab says when the load generator, and not the office, set the pace."""

from __future__ import annotations

from loadtests.lab.history.generator_load import GeneratorLoad, GeneratorMeter, bottleneck_message


def test_a_load_generator_with_time_to_spare_is_not_mentioned() -> None:
    assert bottleneck_message([GeneratorLoad(computing=0.3, waiting_for_core=0.2)]) is None
    assert bottleneck_message([]) is None


def test_locust_that_computes_all_the_time_is_named_as_the_bottleneck() -> None:
    message = bottleneck_message([GeneratorLoad(0.2, 0.1), GeneratorLoad(0.95, 0.02)])
    assert message is not None
    assert "locust itself was the bottleneck" in message
    assert "95%" in message
    assert "--processes" in message


def test_locust_without_a_core_to_run_on_is_named_too() -> None:
    message = bottleneck_message([GeneratorLoad(computing=0.5, waiting_for_core=0.45)])
    assert message is not None
    assert "waited for a core 45%" in message


def test_locusts_own_warning_counts() -> None:
    assert bottleneck_message([GeneratorLoad(0.4, 0.0, locust_warned=True)]) is not None


def test_computing_is_measured_as_computing() -> None:
    meter = GeneratorMeter()
    total = 0
    while (load := meter.read()).computing == 0:
        total += sum(range(10_000))
    assert 0 < load.computing <= 1
