"""What is kept of numbers none of whose callers gave a second one."""

from octoroute_py.manage.significance import Moments


def of_singles(count: int, total: float, squares: float) -> Moments:
    """Of numbers from as many callers."""
    return Moments(count, total, squares, count, count, total, squares)
