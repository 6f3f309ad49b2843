"""`python -m tests.durability.defects`: does the harness catch what it has to catch?

Runs the tests of each defect with the defect planted; they have to fail. Names as arguments choose
some defects. The exit code is 1 where one was not caught.
"""

import sys

from tests.durability.defects.hunting import hunt_all

if __name__ == "__main__":
    sys.exit(hunt_all(sys.argv[1:]))
