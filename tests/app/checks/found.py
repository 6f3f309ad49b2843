"""What the app's system checks say now."""

from django.core import checks
from django.core.checks import CheckMessage


def found(**options: object) -> dict[str, CheckMessage]:
    """The newest message of each fluxio id; `databases=[alias]` asks the servers, too."""
    messages = checks.run_checks(**options)
    return {message.id: message for message in messages if message.id.startswith("fluxio.")}
