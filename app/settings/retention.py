"""`[[retention]]`: how long files are kept."""

from collections.abc import Sequence
from typing import Annotated, Final, Literal

from pydantic import Field

from app.api.api_keys import MAX_WORKSPACE_ID
from app.kinds import Kind
from app.publish.retention_rules import RetentionPolicy, RetentionRule
from app.settings.fields import Section
from app.settings.quantities import DurationText

RETENTIONS_MAX: Final = 100_000


class RetentionSettings(Section):
    """`[[retention]]`: removes whole files of days or hours that ended longer ago than this."""

    workspace: Annotated[int, Field(ge=0, le=MAX_WORKSPACE_ID)] | Literal["*"] = Field(
        description='workspace whose files are removed; "*": each workspace without a retention of its own'
    )
    kind: Literal["events", "logs", "snapshots", "*"] = Field(
        default="*", description='kind of files; "*": each kind without a retention of its own'
    )
    older_than: Annotated[float, DurationText("1h")] = Field(
        description='age, such as "90d", counted from the end of the day or hour; "10000d" keeps files that '
        "another [[retention]] would remove"
    )

    @property
    def rule(self) -> RetentionRule:
        return RetentionRule(
            None if self.workspace == "*" else self.workspace,
            None if self.kind == "*" else Kind(self.kind),
            int(self.older_than * 1000),
        )


def retention_policy(retentions: Sequence[RetentionSettings]) -> RetentionPolicy:
    return RetentionPolicy(tuple(each.rule for each in retentions))


def refuse_second_retentions(retentions: Sequence[RetentionSettings]) -> None:
    """Raises ValueError where a workspace and kind have two."""
    seen: set[tuple[int | str, str]] = set()
    for each in retentions:
        if (each.workspace, each.kind) in seen:
            kind = "" if each.kind == "*" else f" for {each.kind}"
            raise ValueError(
                f"retention: workspace {each.workspace} has two retentions{kind}; keep one of them"
            )
        seen.add((each.workspace, each.kind))
