"""A package of somebody else that has a routing policy, as pip would install it."""

from pathlib import Path

_MODULE = '''\
class Last:
    """Always the last replica."""

    reads_prefix = False

    def pick(self, replicas, prefix, rng):
        return replicas[-1]

    def scores(self, replicas, prefix):
        from gateway.routing.policy import Score

        last = len(replicas) - 1
        return [Score(float(n != last), {}) for n in range(len(replicas))]
'''


def install_policies(folder: Path, name: str = "last") -> str:
    """The folder to put on Python's path; the policy is registered by this name."""
    metadata = folder / "their_policies-1.0.dist-info"
    metadata.mkdir(parents=True)
    (folder / "their_policies.py").write_text(_MODULE)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: their-policies\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(
        f"[sluicegate.policies]\n{name} = their_policies:Last\n"
    )
    return str(folder)
