"""Who does the jobs of a study: this machine, or those of a Ray cluster."""

from collections.abc import Iterator
from contextlib import contextmanager

from recbole_diffusion.studies.jobs.cluster import Cluster, connected
from recbole_diffusion.studies.jobs.local import ThisMachine

Workers = ThisMachine | Cluster


@contextmanager
def workers(cluster: str | None) -> Iterator[Workers]:
    """Whoever runs jobs, until they are done.

    Args:
        cluster: Address of a Ray cluster; None: this machine.

    Raises:
        UserError: As ``connected``.
    """
    if cluster is None:
        yield ThisMachine()
        return
    with connected(cluster) as machines:
        yield machines
