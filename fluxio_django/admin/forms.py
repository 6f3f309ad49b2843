"""What people fill in before something is done: the reason, the step, the moments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminTextInputWidget
from django.utils.translation import gettext_lazy as _

from fluxio_django.admin.moments import LONGEST, Named, named_moment

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
