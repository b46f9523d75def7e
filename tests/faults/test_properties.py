"""The short form of the trial of changed properties files."""

import json

from . import properties


def test_changed_properties_files():
    outcomes = properties.run(120, 0)
    assert not [outcome for outcome in outcomes if outcome.startswith("FAULT")]
    assert min(outcomes["used"], outcomes["left out"], outcomes["refused"]) > 30
    assert sum(outcomes.values()) == 120 * 3


def test_without_a_change_all_is_used(tmp_path):
    documents = properties._documents(tmp_path / "dataset")
    for document in documents:
        for use in properties._USES:
            content = json.dumps(document).encode()
            assert properties._outcome(tmp_path / "dataset", content, use, "no case") == "used"
