"""What people fill in before something is done: the reason, the step, the patch, the moments."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminTextareaWidget, AdminTextInputWidget
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from fluxio.codec import DEFAULT_CODEC, parse_json
from fluxio.codec.registry import USER_TAG
from fluxio.errors import DecodingError, InvalidRunIDError
from fluxio.runtime.reading import checked_run_id
from fluxio_django import services
from fluxio_django.admin.moments import LONGEST, Named, named_moment
from fluxio_django.models import Run

LONGEST_REASON = 300

DIFFERENCES, ALL = "differences", "all"


class ReasonForm(forms.Form):
    """Why something is done; `drifted` asks whether that is meant, though the code has changed."""

    reason = forms.CharField(
        label=_("Reason"),
        max_length=LONGEST_REASON,
        widget=AdminTextInputWidget(attrs={"autocomplete": "off"}),
        help_text=_("Kept in the audit trail, with your name and address."),
    )

    def __init__(self, *args: Any, drifted: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if drifted:
            self.fields["force"] = forms.BooleanField(
                label=_("Go on although the code has changed"),
                help_text=_(
                    "What is recorded was made by other code. Your name, your address and the "
                    "reason are kept in the log of the run."
                ),
            )

    def clean_reason(self) -> str:
        """The reason on one line."""
        return " ".join(str(self.cleaned_data["reason"]).split())


class StepForm(ReasonForm):
    """From where a run is run again. Give `steps`, the choices, with labels; none, no question."""

    from_step = forms.ChoiceField(label=_("From"), required=False)

    field_order: Sequence[str] = ("from_step", "reason")

    def __init__(self, *args: Any, steps: Sequence[tuple[str, str]] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.order_fields([*self.field_order, "force"])
        if not steps:
            del self.fields["from_step"]
            return
        choices = self.fields["from_step"]
        assert isinstance(choices, forms.ChoiceField)
        choices.choices = list(steps)

    def clean_from_step(self) -> str | None:
        """The step key, or None for where a run goes on by itself."""
        return self.cleaned_data["from_step"] or None


class ForkForm(StepForm):
    """A new run: under which id, and with what set in its context."""

    as_run_id = forms.CharField(
        label=_("Run id of the fork"),
        max_length=128,
        required=False,
        widget=AdminTextInputWidget(attrs={"autocomplete": "off", "spellcheck": "false"}),
        help_text=_("Printable ASCII characters without spaces. Leave it empty for a random one."),
    )
    patch = forms.CharField(
        label=_("Patch"),
        initial="{}",
        widget=AdminTextareaWidget(attrs={"spellcheck": "false", "rows": 8}),
        help_text=_(
            "A JSON object. Its keys are set in the context before the first step; others stay. "
            'Types that JSON lacks are written with a tag: {"amount": {"$decimal": "12.50"}}. '
            "There are $decimal, $uuid, $date, $datetime, $tuple, $set, $bytes and others."
        ),
    )

    field_order = ("from_step", "as_run_id", "patch", "reason")

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


class CompareForm(ReasonForm):
    """Which two moments are compared."""

    a = forms.CharField(label=_("Run a"), max_length=128, widget=AdminTextInputWidget)
    at_a = forms.CharField(
        label=_("Moment of a"),
        max_length=LONGEST,
        required=False,
        widget=AdminTextInputWidget,
        help_text=_(
            "A row's number for the state after it, a step for the state before it, "
            "“attempt 2” for the end of an attempt."
        ),
    )
    b = forms.CharField(label=_("Run b"), max_length=128, widget=AdminTextInputWidget)
    at_b = forms.CharField(
        label=_("Moment of b"),
        max_length=LONGEST,
        required=False,
        widget=AdminTextInputWidget,
        help_text=_("Empty means the newest state."),
    )

    show = forms.ChoiceField(
        label=_("Show"),
        choices=[(DIFFERENCES, _("only what differs")), (ALL, _("all keys"))],
        initial=DIFFERENCES,
        required=False,
    )

    field_order = ("a", "at_a", "b", "at_b", "show", "reason")

    def clean_at_a(self) -> Named:
        """The moment of a."""
        return named_moment(self.cleaned_data["at_a"])

    def clean_at_b(self) -> Named:
        """The moment of b."""
        return named_moment(self.cleaned_data["at_b"])


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
        tag = _registered_tag(plain)
        if tag is not None:
            raise ValidationError(
                _("%(tag)s names a registered type; a patch holds built-in types only."),
                params={"tag": tag[:100]},
            )
        return DEFAULT_CODEC.decode(json.dumps(plain), root="patch")
    except DecodingError as problem:
        raise ValidationError(str(problem)) from problem


def _registered_tag(plain: Any) -> str | None:
    pending = [plain]
    while pending:
        value = pending.pop()
        if isinstance(value, Mapping):
            for key in value:
                if key.startswith(USER_TAG):
                    return str(key)
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)
    return None
