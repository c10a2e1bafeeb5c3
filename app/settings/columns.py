"""`annotate`, `ids_as` and `payload_type`: what the files of a sink say of their columns."""

from typing import Annotated, Final, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from app.parquet.annotation import Annotation
from app.settings.fields import Section, comma_list

SPARK_AND_UUID: Final = (
    "Spark (4.3 and before) refuses every file with a UUID column, also to read other columns of it; "
    "leave ids out of annotate if Spark is to read these files"
)


class ColumnSettings(Section):
    """The part of `[sinks.<name>]` that is about the types of columns."""

    data_format: Literal["json", "binary"] = Field(
        default="json", description="json: a payload that is not JSON is refused; binary: bytes as they came"
    )
    annotate: Annotated[
        list[Literal["ids", "payload", "timestamps"]], BeforeValidator(comma_list), Field(max_length=3)
    ] = Field(
        default=[],
        description="columns that carry a logical type: ids (UUID; Spark refuses such files), "
        "payload (JSON), timestamps (milliseconds, UTC)",
    )
    ids_as: Literal["fixed", "binary"] = Field(
        default="fixed",
        description="device and session ids: fixed: FIXED_LEN_BYTE_ARRAY(16); binary: BYTE_ARRAY, which "
        "Polars filters faster",
    )
    payload_type: Literal["binary", "json"] = Field(
        default="binary", description='json: the older spelling of annotate = ["payload"]'
    )

    @property
    def annotations(self) -> frozenset[Annotation]:
        found = {Annotation(name) for name in self.annotate}
        return frozenset(found | {Annotation.PAYLOAD} if self.payload_type == "json" else found)

    @property
    def remarks(self) -> list[str]:
        """What an operator should know of these settings, which are allowed."""
        return [SPARK_AND_UUID] if Annotation.IDS in self.annotations else []

    @model_validator(mode="after")
    def _types_fit_together(self) -> Self:
        if "payload" in self.annotate:
            if "payload_type" in self.model_fields_set and self.payload_type == "binary":
                raise ValueError(
                    'annotate has "payload", and payload_type = "binary" says the opposite; '
                    "leave payload_type out"
                )
            if self.data_format != "json":
                raise ValueError('annotate = ["payload"] needs data_format = "json"')
        if self.ids_as == "binary" and "ids" in self.annotate:
            raise ValueError(
                'annotate has "ids", and a UUID column has 16 bytes: leave ids_as = "binary" out, or "ids"'
            )
        return self
