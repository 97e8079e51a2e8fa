"""Settings of `bucketlog serve` and of the roles of a cluster.

Flags win over the environment (BUCKETLOG_…), the environment over the file. The file is TOML, named by BUCKETLOG_CONFIG or
--config, with the same names in lower case.
"""

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from topics.placement import OUT_SHARE


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="BUCKETLOG_", extra="forbid")

    data: Path = Path("data")
    more_data: list[Path] = []  # of `serve`: folders on further disks, over which payloads are replicated
    host: str = "127.0.0.1"
    port: int = Field(default=9000, ge=1, le=65535)
    region: str = "us-east-1"
    account_id: str = Field(default="000000000000", pattern=r"^[0-9]{12}$")  # of the root user, as AWS has one
    domain: Annotated[str, BeforeValidator(_lower)] = ""  # for virtual-host style addresses: bucket.DOMAIN
    signature_v2: bool = True  # whether S3 requests may be signed by AWS Signature Version 2, as boto3 presigns URLs
    access_key_id: str = ""
    secret_access_key: SecretStr = SecretStr("")
    log_format: Annotated[Literal["auto", "json", "text"], BeforeValidator(_lower)] = "auto"  # auto: text on a terminal
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = "info"
    access_log: bool = False  # a line for each request, at gateways
    cache_bytes: int = Field(default=64 << 20, ge=0)  # of small payloads that were read lately, in memory, at gateways
    metrics_token: SecretStr = SecretStr("")  # who sends it may read /-/metrics [default: this machine only]

    # of a cluster
    kafka: str = ""  # bootstrap servers: host:port[,…]
    kafka_prefix: str = ""  # of the topics' names
    kafka_replication: int = Field(default=3, ge=1)  # of topics that are created
    kafka_min_in_sync: int = Field(default=2, ge=1)
    kafka_settings: dict[str, SecretStr] = {}  # of librdkafka: security.protocol, sasl.username, …
    cluster_secret: SecretStr = SecretStr("")  # shared by all processes of a cluster
    advertise: str = ""  # how other processes reach this one [default: http://host:port]
    node: str = ""  # a data node's name [default: the host's]
    failure_domain: str = ""  # what may fail at once with a data node: its rack, its zone [default: the node alone]
    copies: int = Field(default=3, ge=1, le=7)  # of each blob, for processors
    grace_s: float = Field(default=15, gt=0)  # for which a data node may be silent before it counts as down
    out_s: float = Field(default=600, gt=0)  # for which it may be down before its groups are placed elsewhere
    out_share: float = Field(
        default=OUT_SHARE, ge=0, le=1
    )  # of data nodes that may be out by themselves at once, for processors
    drain_s: float = Field(default=0, ge=0)  # for which a gateway that stops still answers, and says that it is not ready
    release_after_s: float = Field(default=60, ge=0)  # until replaced blobs go, and no read that began before goes on
    read_max_s: float = Field(default=21_600, gt=0)  # a read that takes longer is ended: garbage waits for it
    orphan_after_s: float = Field(default=6 * 3600, gt=0)  # the age at which a blob that nothing refers to is an orphan
    sweep_pace_s: float = Field(default=1, gt=0)  # between two questions for orphans
    sweep_every_s: float = Field(default=86_400, gt=0)  # from one question about all blobs to the next
    scrub_every_s: float = Field(default=14 * 86_400, gt=0)  # from the start of one reading of all blobs to the next
    audit_pace_s: float = Field(
        default=1, gt=0
    )  # between two looks of a processor, or `serve`, at what data nodes have of 100 objects
    audit_every_s: float = Field(default=7 * 86_400, gt=0)  # from the start of one look at all objects to the next
    copy_bytes_per_s: float = Field(
        default=256e6, gt=0
    )  # that a data node takes from others, to copy and to mend; and gives

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        del dotenv_settings, file_secret_settings
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def load(config: Path | None, flags: dict[str, object]) -> Settings:
    """Raises `ValueError`, one line, for what cannot be a setting or a file that cannot be read."""
    if config is not None and not config.is_file():
        raise ValueError(f"settings file {config} does not exist")

    class FromFile(Settings):
        model_config = SettingsConfigDict(toml_file=config)

    try:
        return FromFile(**{name: value for name, value in flags.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:  # its own text shows the values, and one may be a secret
        wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise ValueError(f"settings that cannot be: {wrong}") from None
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"settings file {config} is not TOML: {error}") from None
