"""YAML of plain values → frozen dataclasses; an unknown or missing key is an error that names its place."""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

import yaml

from training.files import write_whole

T = TypeVar("T")


class ConfigError(ValueError):
    """A configuration file says something that its stage does not understand."""


def load_config(path: Path, kind: type[T]) -> T:
    """Read a YAML file into a configuration dataclass.

    Raises:
        ConfigError: a file that can't be read, an unknown key, a value of another type or out of its range.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    return build(kind, data if data is not None else {}, str(path))


def build(kind: type[T], data: Any, where: str) -> T:
    """Plain data → dataclass, recursively; `where` opens every error message."""
    if not isinstance(data, dict):
        raise ConfigError(f"{where}: expected a mapping for {kind.__name__}, got {data!r}")
    if not dataclasses.is_dataclass(kind):
        raise TypeError(f"{kind!r} is not a dataclass")
    hints = typing.get_type_hints(kind)
    names = {f.name for f in dataclasses.fields(kind)}
    unknown = sorted(set(data) - names, key=str)
    if unknown:
        raise ConfigError(
            f"{where}: unknown key {unknown[0]!r}; {kind.__name__} knows {', '.join(sorted(names))}"
        )
    values = {key: _value(hints[key], value, f"{where}: {key}") for key, value in data.items()}
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}: {error}") from error


def _value(hint: Any, value: Any, where: str) -> Any:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in inner:
            return None
        return _value(next(i for i in inner if i is not type(None)), value, where)
    if dataclasses.is_dataclass(hint):
        return build(typing.cast("type[Any]", hint), value, where)
    if origin is tuple:
        return _tuple(inner, value, where)
    return _scalar(hint, value, where)


def _tuple(inner: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise ConfigError(f"{where}: expected a list, got {value!r}")
    kinds = [inner[0]] * len(value) if inner[-1] is Ellipsis else inner
    if len(kinds) != len(value):
        raise ConfigError(f"{where}: expected {len(kinds)} values, got {len(value)}")
    return tuple(_value(k, v, where) for k, v in zip(kinds, value, strict=True))


def _scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is float and isinstance(value, int | str) and not isinstance(value, bool):
        try:
            value = float(value)  # YAML reads 1e-4 as text
        except ValueError:
            raise ConfigError(f"{where}: expected a number, got {value!r}") from None
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise ConfigError(f"{where}: expected {hint.__name__}, got {value!r}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{where}: expected a finite number, got {value!r}")
    return value


def save_config(config: Any, path: Path) -> None:
    """Write the resolved configuration as JSON, beside a checkpoint."""
    write_whole(path, json.dumps(dataclasses.asdict(config), indent=2) + "\n")
