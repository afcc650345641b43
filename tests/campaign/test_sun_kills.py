"""A few of the kills that `python -m tests.campaign.sun_kills` does by the hundred."""

from tests.campaign.sun_kills import campaign


def test_no_message_is_believed_twice_and_none_is_lost() -> None:
    """However the process that reads them ends."""
    result = campaign(3)
    assert result.kills == 3
    assert result.good, result
