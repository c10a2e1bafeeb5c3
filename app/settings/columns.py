"""`annotate`, `ids_as` and `payload_type`: how the files of a sink describe their columns."""

from typing import Annotated, Final, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from app.parquet.annotation import Annotation
from app.settings.fields import Section, comma_list

SPARK_AND_UUID: Final = (
    "Spark (4.3 and before) refuses every file with a UUID column, even when other columns are read; leave "
    "ids out of annotate if Spark is to read these files"
)


class ColumnSettings(Section):
    """The part of `[sinks.<name>]` that is about the types of columns."""

    data_format: Literal["json", "binary"] = Field(
        default="json",
        description="json: a payload that is not JSON is refused; binary: payloads are stored as they are",
    )
    annotate: Annotated[
        list[Literal["ids", "payload", "timestamps"]], BeforeValidator(comma_list), Field(max_length=3)
    ] = Field(
        default=[],
        description="columns that get a logical type: ids (UUID; Spark refuses such files), payload (JSON), "
        "timestamps (milliseconds, UTC)",
    )
    ids_as: Literal["fixed", "binary"] = Field(
        default="fixed",
        description="physical type of device and session ids: fixed is FIXED_LEN_BYTE_ARRAY(16); binary is "
        "BYTE_ARRAY, which Polars filters faster",
    )
    payload_type: Literal["binary", "json"] = Field(
        default="binary", description='json: an older way to write annotate = ["payload"]'
    )

    @property
    def annotations(self) -> frozenset[Annotation]:
        found = {Annotation(name) for name in self.annotate}
        return frozenset(found | {Annotation.PAYLOAD} if self.payload_type == "json" else found)

    @property
    def remarks(self) -> list[str]:
        """What an operator should know about these settings, although they are allowed."""
        return [SPARK_AND_UUID] if Annotation.IDS in self.annotations else []

    @model_validator(mode="after")
    def _types_fit_together(self) -> Self:
        if "payload" in self.annotate:
            if "payload_type" in self.model_fields_set and self.payload_type == "binary":
                raise ValueError(
                    'annotate contains "payload", and payload_type = "binary" contradicts it; leave out '
                    "payload_type"
                )
            if self.data_format != "json":
                raise ValueError('annotate = ["payload"] needs data_format = "json"')
        if self.ids_as == "binary" and "ids" in self.annotate:
            raise ValueError(
                'annotate contains "ids", and a UUID column needs fixed 16-byte values: leave out either '
                'ids_as = "binary" or "ids"'
            )
        return self
