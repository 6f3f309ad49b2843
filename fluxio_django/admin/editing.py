"""The form of a fork: the context it begins with, as a field of typed JSON for each key."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminTextareaWidget, AdminTextInputWidget
from django.core.exceptions import ValidationError
from django.forms import BoundField
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from fluxio.codec import DEFAULT_CODEC, parse_json
from fluxio.codec.registry import USER_TAG
from fluxio.diff import same
from fluxio.errors import DecodingError, EncodingError, InvalidRunIDError
from fluxio.runtime.reading import checked_run_id
from fluxio_django import services
from fluxio_django.admin.forms import StepForm
from fluxio_django.admin.measures import printable
from fluxio_django.models import Run

MOST_FIELDS = 100
"""How many keys have a field of their own."""
MOST_CHARACTERS = 4_000
"""Larger values have none."""

_HIDDEN = "$secret"
_LONGEST_LABEL = 200
_SHORT = 70
_MOST_LINES = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class EditableKey:
    """A key of a context; `text` is what its field says, None where it has none.

    `kind` names the type of its value, `name` the field.
    """

    key: str
    name: str
    label: str
    kind: str
    value: Any
    text: str | None


def editable_keys(state: Mapping[str, Any]) -> list[EditableKey]:
    """The keys of a context as it is shown; what is hidden in it cannot be edited."""
    left = MOST_FIELDS
    keys = []
    for key, value in state.items():
        text = editable_text(value) if left > 0 else None
        left -= text is not None
        keys.append(
            EditableKey(
                key=key,
                name=f"value-{sha256(key.encode(errors='surrogatepass')).hexdigest()[:16]}",
                label=printable(key[:_LONGEST_LABEL]),
                kind=type(value).__name__,
                value=value,
                text=text,
            )
        )
    return keys


def editable_text(value: Any) -> str | None:
    """A value as the JSON that people write; None where that would not do.

    So it is with hidden values, with those of registered types, which only the project's own code
    may build, and with large ones.
    """
    try:
        plain = json.loads(DEFAULT_CODEC.encode_value(value))
    except EncodingError:
        return None
    if any(tag == _HIDDEN or tag.startswith(USER_TAG) for tag in _keys_in(plain)):
        return None
    text = json.dumps(plain, ensure_ascii=False)
    if len(text) > MOST_CHARACTERS:
        return None
    if len(text) > _SHORT:
        text = json.dumps(plain, ensure_ascii=False, indent=2)
    return text if text.isprintable() else "".join(map(_visible, text))


def _visible(character: str) -> str:
    """A character as JSON has it; those that are not to be seen stand in strings only."""
    if character.isprintable() or character == "\n":
        return character
    return json.dumps(character)[1:-1]


class ForkForm(StepForm):
    """A new run: from where, under which id, and with what set in its context.

    Give `keys`, those of the context at the step `shown`, for them to have fields.
    """

    as_run_id = forms.CharField(
        label=gettext_lazy("Run id of the fork"),
        max_length=128,
        required=False,
        widget=AdminTextInputWidget(attrs={"autocomplete": "off", "spellcheck": "false"}),
        help_text=gettext_lazy(
            "Printable ASCII characters without spaces. Leave it empty for a random one."
        ),
    )
    patch = forms.CharField(
        label=gettext_lazy("Further keys"),
        initial="{}",
        widget=AdminTextareaWidget(attrs={"spellcheck": "false", "rows": 4}),
        help_text=gettext_lazy(
            "A JSON object. Its keys are set in the context before the first step; others stay. "
            'Types that JSON lacks are written with a tag: {"amount": {"$decimal": "12.50"}}. '
            "There are $decimal, $uuid, $date, $datetime, $tuple, $set, $bytes and others."
        ),
    )
    shown_from = forms.CharField(required=False, widget=forms.HiddenInput)

    field_order = ("from_step", "as_run_id", "patch", "reason")

    def __init__(
        self, *args: Any, keys: Sequence[EditableKey] = (), shown: str = "", **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.fields["shown_from"].initial = shown
        self._keys = {key.name: key for key in keys}
        for key in keys:
            if key.text is not None:
                self.fields[key.name] = _value_field(key)

    @property
    def plain_fields(self) -> list[BoundField]:
        """The fields that are about no key of the context."""
        return [field for field in self.visible_fields() if field.name not in self._keys]

    @property
    def key_fields(self) -> list[tuple[EditableKey, BoundField | None]]:
        """Each key of the context, and its field where it has one."""
        return [
            (key, self[name] if name in self.fields else None) for name, key in self._keys.items()
        ]

    def clean_as_run_id(self) -> str | None:
        """The id, or None for a random one."""
        wanted = self.cleaned_data["as_run_id"]
        if not wanted:
            return None
        try:
            chosen = checked_run_id(wanted)
        except InvalidRunIDError as problem:
            raise ValidationError(str(problem)) from problem
        if Run.objects.using(services.database()).filter(run_id=chosen).exists():
            raise ValidationError(_("This run id is taken. Choose another one."))
        return chosen

    def clean_patch(self) -> dict[str, Any]:
        """The values to set, typed."""
        return typed_patch(self.cleaned_data["patch"])

    def clean(self) -> dict[str, Any]:
        """Put what was edited into the patch; what a field says as before is no part of it."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        edited: dict[str, Any] = {}
        for name, key in self._keys.items():
            # A form that was made without the fields leaves the keys alone.
            if name not in self.fields or name not in self.data:
                continue
            try:
                value = typed_value(cleaned.get(name, ""))
            except ValidationError as problem:
                self.add_error(name, problem)
                continue
            if not same(value, key.value):
                edited[key.key] = value
        further = cleaned.get("patch")
        if further is not None:
            twice = edited.keys() & further.keys()
            if twice:
                named = ", ".join(printable(key[:_LONGEST_LABEL]) for key in sorted(twice))
                self.add_error("patch", _("Set in a field of its own as well: %s.") % named)
            cleaned["patch"] = {**edited, **further}
        return cleaned


def _value_field(key: EditableKey) -> forms.CharField:
    assert key.text is not None
    lines = sum(len(line) // _SHORT + 1 for line in key.text.split("\n"))
    attributes = {"spellcheck": "false", "autocomplete": "off", "rows": min(lines, _MOST_LINES)}
    return forms.CharField(
        label=key.label,
        initial=key.text,
        required=False,
        strip=False,
        widget=forms.Textarea(attrs=attributes),
    )


def typed_value(text: str) -> Any:
    """The value that a field holds; as in a patch, tags of built-in types count.

    Raises:
        ValidationError: the text is no such value; the message says where and why.
    """
    if not text.strip():
        raise ValidationError(_("Write a JSON value: a number, a text in quotes, null, …"))
    try:
        plain = parse_json(text)
        _refuse_registered_tags(plain)
        return DEFAULT_CODEC.decode_value(json.dumps(plain))
    except DecodingError as problem:
        raise ValidationError(str(problem)) from problem


def typed_patch(text: str) -> dict[str, Any]:
    """The values that a patch sets.

    The text is bounded and read as plain JSON first; then the tags of built-in types count.
    Those of registered types do not: what they would build is the project's own code at work.

    Raises:
        ValidationError: the text is no such patch; the message says where and why.
    """
    try:
        plain = parse_json(text)
        if type(plain) is not dict:
            raise ValidationError(_('Write a JSON object, e.g. {"amount": 12}.'))
        _refuse_registered_tags(plain)
        return DEFAULT_CODEC.decode(json.dumps(plain), root="patch")
    except DecodingError as problem:
        raise ValidationError(str(problem)) from problem


def _refuse_registered_tags(plain: Any) -> None:
    for tag in _keys_in(plain):
        if tag.startswith(USER_TAG):
            raise ValidationError(
                _("%(tag)s names a registered type; a patch holds built-in types only."),
                params={"tag": tag[:100]},
            )


def _keys_in(plain: Any) -> Iterator[str]:
    """Every key of every object in plain JSON values."""
    pending = [plain]
    while pending:
        value = pending.pop()
        if isinstance(value, Mapping):
            yield from value
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)
