"""Runs state machines of Hypothesis with equal settings: the same examples each time.

FAULT_SEED=N selects other examples, so that several processes can share many rounds.
"""

import os

from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test


def check_machine(machine: type[RuleBasedStateMachine], examples: int, steps: int) -> None:
    """Run examples of a state machine, with up to so many steps each."""
    if number := os.environ.get("FAULT_SEED"):
        machine = seed(int(number))(machine)
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=True,
            database=None,
        ),
    )
