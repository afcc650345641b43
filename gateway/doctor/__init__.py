"""What can be wrong with a gateway and the machine under it, with what it means and what to do.

`facts` says what there is to know, `gather` finds it out at the edge, `judge` decides without looking at anything else.
"""

from gateway.doctor.finding import Finding, Verdict
from gateway.doctor.gather import gather
from gateway.doctor.judge import judge

__all__ = ["Finding", "Verdict", "gather", "judge"]
