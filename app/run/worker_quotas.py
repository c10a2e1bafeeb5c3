"""A worker's view of quotas: the process that owns the journal counts, and reports workspaces that have used
up theirs."""

from collections.abc import Mapping, Sequence

from app.commit.quota import Excess
from app.commit.quota_policy import QuotaPolicy
from app.settings.plan import Plan


class WorkerQuotas:
    """Used on the event loop; `told` and `replace` from any thread."""

    def __init__(self, quotas: Mapping[int | None, QuotaPolicy]) -> None:
        self._quotas = quotas
        self._in_excess: dict[int, Excess] = {}

    def told(self, in_excess: Sequence[Excess]) -> None:
        self._in_excess = {each.workspace_id: each for each in in_excess}

    def replace(self, plan: Plan) -> None:
        self._quotas = plan.policies.quotas

    def excess(self, workspace_id: int) -> Excess | None:
        return self._in_excess.get(workspace_id)

    def share_of(self, workspace_id: int) -> float | None:
        policy = self._quotas.get(workspace_id) or self._quotas.get(None)
        return None if policy is None else policy.inflight_share
