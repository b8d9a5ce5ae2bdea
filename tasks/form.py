"""A form: a group of settings, declared once for Prefect's run form and for the command line.

A `Form` is a pydantic model. Prefect shows it as a part of its run form; `add_options` makes it a
group of options and `parse_options` reads them back. Names, values, defaults and help come from the
fields, and pydantic validates both ways in, so both accept the same values.

A command is a function. A parameter whose type is a form becomes an option for each of the form's
fields, any other parameter becomes one option.
"""

from argparse import SUPPRESS, ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cache
from inspect import Parameter, getdoc, signature
from pathlib import Path
from types import NoneType
from typing import Any, Literal, NoReturn, get_args, get_origin

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, ValidationError, create_model
from pydantic.fields import FieldInfo

from widedeep import InputError
from widedeep.inputs import Moment

Command = Callable[..., None]

_METAVARS = {Moment: "WHEN", int: "N", float: "N", Path: "DIR", str: "TEXT"}


@dataclass(frozen=True, slots=True)
class Option:
    """How a field is written on the command line.

    Attributes:
        name: With dashes, as `--from`; without dashes (`VERSION`) it is a positional argument.
            None: the field's own name.
        metavar: Stands for the value in the help. None: chosen by the field's type.
    """

    name: str | None = None
    metavar: str | None = None


class Form(BaseModel):
    """A group of settings; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: GetJsonSchemaHandler) -> Any:  # noqa: ANN401  as pydantic declares it
        """Return the JSON schema with the values of each enum in the field itself.

        Prefect shows such a field as a select with the field's own title and description.
        """
        form = handler.resolve_ref_schema(handler(schema))
        for name, field in form["properties"].items():
            if "$ref" in field:
                enum = handler.resolve_ref_schema({"$ref": field.pop("$ref")})
                form["properties"][name] = {**enum, **field}
        return form


class CommandParser(ArgumentParser):
    """A parser that raises `InputError` with one sentence for what it cannot understand."""

    def error(self, message: str) -> NoReturn:
        """Raise InputError instead of printing the usage and exiting."""
        raise InputError(f"{message}; see {self.prog} --help")


def add_options(parser: ArgumentParser, command: Command) -> None:
    """Add an option to `parser` for each setting of `command`."""
    for setting in _settings(command):
        parser.add_argument(*setting.names, **setting.arguments())


def parse_options(options: Namespace, command: Command) -> dict[str, Any]:
    """Return the arguments of `command` that the user wrote in `options`, validated.

    Raises:
        InputError: A value is not of its setting's type, or out of range.
    """
    form = _form(command)
    values: dict[str, Any] = {
        name: {} for name, field in form.model_fields.items() if _group(field) is not None
    }
    for path, value in vars(options).items():
        group, _, name = path.rpartition(".")
        (values[group] if group else values)[name] = value
    try:
        return dict(form.model_validate(values))
    except ValidationError as error:
        raise InputError(_sentence(error, command)) from error


@dataclass(frozen=True, slots=True)
class _Setting:
    """One option: the path of its value, as `moments.as_of`, and its declaration."""

    path: str
    field: FieldInfo

    @property
    def option(self) -> Option:
        options = (mark for mark in self.field.metadata if isinstance(mark, Option))
        return next(options, Option())

    @property
    def name(self) -> str:
        return self.path.rpartition(".")[2]

    @property
    def flag(self) -> str:
        return self.option.name or f"--{self.name.replace('_', '-')}"

    @property
    def names(self) -> tuple[str, ...]:
        """The names for argparse, which calls a positional argument by the path of its value."""
        return (self.flag if self.flag.startswith("-") else self.path,)

    def arguments(self) -> dict[str, Any]:
        """Return the other arguments of `add_argument`."""
        arguments: dict[str, Any] = {"help": self._help(), "default": SUPPRESS}
        metavar = self.flag
        if self.flag.startswith("-"):
            arguments |= {"dest": self.path, "required": self.field.is_required()}
            metavar = _metavar(self.field.annotation)
        if self.field.annotation is bool:
            return arguments | {"action": "store_true"}
        if list[str] in _alternatives(self.field.annotation):
            arguments |= {"nargs": "+", "action": "extend"}
        return arguments | {"metavar": self.option.metavar or metavar}

    def _help(self) -> str:
        default = self.field.default
        shown = default is not None and default is not False and not self.field.is_required()
        text = f"{self.field.description}{f' Default: {default}.' if shown else ''}"
        return text.replace("%", "%%")


def _settings(command: Command) -> Iterator[_Setting]:
    for name, field in _form(command).model_fields.items():
        group = _group(field)
        if group is None:
            yield _Setting(name, field)
        else:
            for inner, declared in group.model_fields.items():
                yield _Setting(f"{name}.{inner}", declared)


@cache
def _form(command: Command) -> type[BaseModel]:
    """Return a form whose fields are the command's parameters."""
    fields: dict[str, Any] = {
        name: (
            parameter.annotation,
            ... if parameter.default is Parameter.empty else parameter.default,
        )
        for name, parameter in signature(command).parameters.items()
    }
    return create_model(command.__name__, __doc__=getdoc(command), **fields)


def _group(field: FieldInfo) -> type[Form] | None:
    """Return a parameter's form if each of its fields is an option; with an Option none is."""
    form = field.annotation
    single = any(isinstance(mark, Option) for mark in field.metadata)
    return form if isinstance(form, type) and issubclass(form, Form) and not single else None


def _alternatives(annotation: object) -> list[Any]:
    """Return the members of a union without None, or the annotation alone."""
    members = get_args(annotation)
    if NoneType not in members:
        return [annotation]
    return [member for member in members if member is not NoneType]


def _metavar(annotation: object) -> str:
    (kind,) = _alternatives(annotation)
    if get_origin(kind) is Literal:
        return "|".join(get_args(kind))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "|".join(member.value for member in kind)
    return _METAVARS.get(kind, "TEXT")


def _sentence(invalid: ValidationError, command: Command) -> str:
    """Return pydantic's first error in the words of the command line."""
    error = invalid.errors()[0]
    path = ".".join(str(part) for part in error["loc"])
    settings = (s for s in _settings(command) if f"{path}.".startswith(f"{s.path}."))
    setting = next(settings, None)
    raised = error.get("ctx", {}).get("error")
    if isinstance(raised, InputError):
        message = str(raised)
        return message if setting is None else message.replace(setting.name, setting.flag, 1)
    if setting is None:
        return f"{path} is {error['input']!r}; {error['msg']}"
    reason = f"{error['msg'][0].lower()}{error['msg'][1:]}"
    if error["type"] in {"enum", "literal_error"}:
        reason = f"expected one of {_metavar(setting.field.annotation).replace('|', ', ')}"
    return f"{setting.flag} is {error['input']!r}; {reason}"
